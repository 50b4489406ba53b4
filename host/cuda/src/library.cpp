// What needs CUDA's symbols: graphs of captured work, streams, facts of a device.
//
// Every function of the table returns null, or an error's text that `free_text` frees.

#include <ATen/core/CachingHostAllocator.h>
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

// Whether `body` came to its end.
template <typename Body> bool succeeds(const Body &body) noexcept {
  try {
    body();
    return true;
  } catch (...) {
    return false;
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
  // Of this capture alone, and known here: libtorch closes it only where the capture succeeds.
  c10::MempoolId_t pool = at::cuda::graph_pool_handle();
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
    // What the allocator keeps of steps before and of graphs that are gone is of no use to a capture, and during one it
    // gives nothing back.
    c10::cuda::CUDACachingAllocator::emptyCache();
    c10::cuda::setCurrentCUDAStream(main);
    is_open = true;
    try {
      // Other threads may allocate and copy meanwhile.
      graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      succeeds([&] { end(); });
      throw;
    }
  }

  // What follows is captured on the branch of this number, after what the main stream has so far.
  void branch(size_t number) {
    const c10::cuda::CUDAGuard on(device);
    while (branches.size() <= number) branches.push_back(c10::cuda::getStreamFromPool(false, device));
    Mark(main).hold(branches[number]);
    open.push_back(number);
    c10::cuda::setCurrentCUDAStream(branches[number]);
  }

  // What follows is captured on the main stream, after all branches.
  void join() {
    const c10::cuda::CUDAGuard on(device);
    for (size_t number : open) Mark(branches[number]).hold(main);
    open.clear();
    c10::cuda::setCurrentCUDAStream(main);
  }

  // Ends the capture, and throws if nothing came of it. Either way neither the stream nor the allocators stay under
  // capture, and the thread's work goes where it went before.
  void end() {
    is_open = false;
    const c10::cuda::CUDAGuard on(device);
    c10::cuda::setCurrentCUDAStream(main);
    std::exception_ptr failed;
    try {
      graph.capture_end();
    } catch (...) {
      failed = std::current_exception();
      close_pool();
    }
    c10::cuda::setCurrentCUDAStream(before);
    if (failed) std::rethrow_exception(failed);
  }

  ~Capture() {
    // Why the work failed was said already, and branches that were not joined end with it.
    if (is_open) succeeds([&] { end(); });
  }

private:
  // Closes the pool of a capture that failed. How far libtorch came with that differs, and what it did already throws.
  void close_pool() {
    at::HostAllocator *pinned = at::getHostAllocator(at::kCUDA);
    succeeds([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool); });
    succeeds([&] { pinned->end_allocate_to_pool(pool); });
    // A graph that knows its pool gives it back itself.
    if (succeeds([&] { graph.pool(); })) return;
    succeeds([&] { c10::cuda::CUDACachingAllocator::releasePool(device, pool); });
    succeeds([&] { pinned->release_pool(pool); });
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
