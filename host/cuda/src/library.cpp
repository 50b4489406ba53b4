// What needs CUDA's symbols: graphs of captured work, streams, facts of a device.
//
// Every function of the table returns null, or an error's text that `free_text` frees.

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/headeronly/version.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

namespace {

using c10::cuda::CUDAStream;

// Calls `body`; the text of what it throws.
template <typename Body> char *guarded(const Body &body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of an unknown kind");
  }
}

// What a stream has to do so far, for another one to wait for.
class Mark {
  cudaEvent_t event = nullptr;

public:
  explicit Mark(const CUDAStream &stream) {
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    C10_CUDA_CHECK(cudaEventRecord(event, stream.stream()));
  }
  Mark(const Mark &) = delete;
  Mark &operator=(const Mark &) = delete;
  ~Mark() { C10_CUDA_CHECK_WARN(cudaEventDestroy(event)); }

  void hold(const CUDAStream &stream) const { C10_CUDA_CHECK(cudaStreamWaitEvent(stream.stream(), event, 0)); }
};

// Work that is being captured, or was.
struct Capture {
  c10::DeviceIndex device;
  at::cuda::CUDAGraph graph;
  CUDAStream before;
  CUDAStream main;
  // Streams that are forked off `main` and joined again, and those of them that were not joined yet.
  std::vector<CUDAStream> branches;
  std::vector<size_t> open;
  bool is_open = false;

  explicit Capture(c10::DeviceIndex device)
      : device(device), before(c10::cuda::getCurrentCUDAStream(device)),
        main(c10::cuda::getStreamFromPool(false, device)) {}

  void begin() {
    // What was queued before must not wait for what is captured.
    C10_CUDA_CHECK(cudaDeviceSynchronize());
    c10::cuda::setCurrentCUDAStream(main);
    try {
      // Other threads may allocate and copy meanwhile.
      graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(before);
      throw;
    }
    is_open = true;
  }

  // What follows is captured on the branch of this number, after what the main stream has so far.
  void branch(size_t number) {
    while (branches.size() <= number) branches.push_back(c10::cuda::getStreamFromPool(false, device));
    Mark(main).hold(branches[number]);
    open.push_back(number);
    c10::cuda::setCurrentCUDAStream(branches[number]);
  }

  // What follows is captured on the main stream, after all branches.
  void join() {
    for (size_t number : open) Mark(branches[number]).hold(main);
    open.clear();
    c10::cuda::setCurrentCUDAStream(main);
  }

  void end() {
    is_open = false;
    const c10::cuda::CUDAStreamGuard back(before);
    c10::cuda::setCurrentCUDAStream(main);
    graph.capture_end();
  }

  ~Capture() {
    if (!is_open) return;
    // A stream must not stay under capture; why the work failed was said already.
    try {
      join();
      graph.capture_end();
    } catch (...) {
    }
    c10::cuda::setCurrentCUDAStream(before);
  }
};

// Facts of a device.
struct Facts {
  char name[128];
  uint64_t free;
};

char *facts(int32_t device, Facts *out) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    cudaDeviceProp properties;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    std::strncpy(out->name, properties.name, sizeof out->name - 1);
    out->name[sizeof out->name - 1] = 0;
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    out->free = free;
  });
}

// The stream that libtorch uses now, as the driver knows it.
char *stream(int32_t device, void **out) {
  return guarded([&] { *out = c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream(); });
}

char *capture_begin(int32_t device, Capture **out) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    auto made = std::make_unique<Capture>(static_cast<c10::DeviceIndex>(device));
    made->begin();
    *out = made.release();
  });
}

char *capture_branch(Capture *capture, int32_t number) {
  return guarded([&] { capture->branch(static_cast<size_t>(number)); });
}

char *capture_join(Capture *capture) {
  return guarded([&] { capture->join(); });
}

char *capture_end(Capture *capture) {
  return guarded([&] { capture->end(); });
}

char *replay(Capture *capture) {
  return guarded([&] {
    const c10::cuda::CUDAGuard on(capture->device);
    capture->graph.replay();
  });
}

void drop(Capture *capture) { delete capture; }

void free_text(char *text) { std::free(text); }

// The order and the version are those of the table in `kernels::graphs`.
struct Table {
  uint32_t version;
  const char *libtorch;
  void (*free_text)(char *);
  char *(*facts)(int32_t, Facts *);
  char *(*stream)(int32_t, void **);
  char *(*capture_begin)(int32_t, Capture **);
  char *(*capture_branch)(Capture *, int32_t);
  char *(*capture_join)(Capture *);
  char *(*capture_end)(Capture *);
  char *(*replay)(Capture *);
  void (*drop)(Capture *);
};

const Table table = {1,           TORCH_VERSION, free_text,   facts,  stream, capture_begin, capture_branch,
                     capture_join, capture_end,   replay,      drop};

} // namespace

extern "C" const void *rewind_cuda_functions() { return &table; }
