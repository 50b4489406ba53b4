// Processes that exchange tensors: libtorch's c10d with Gloo, which its packages have compiled in.

#ifdef __linux__

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <atomic>
#include <chrono>
#include <cstring>

#include "guarded.h"

namespace {

using std::chrono::milliseconds;

// How long to wait before looking whether the others were given up.
constexpr milliseconds PATIENCE{500};

struct Store {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

struct Group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
};

// Waits for its end, or until the other processes are given up.
void finish(const c10::intrusive_ptr<c10d::Work> &work, const std::atomic<bool> *given_up) {
  for (;;) {
    TORCH_CHECK(!given_up->load(), "another process was given up");
    try {
      work->wait(PATIENCE);
      return;
    } catch (...) {
      // It may have failed, or not be done yet.
      if (work->isCompleted()) throw;
    }
  }
}

} // namespace

extern "C" {

// A store at this address, which this process holds if it `serves`; its port, which the system chooses for 0.
char *rewind_store_open(const char *address, int32_t *port, bool serves, int64_t timeout, Store **out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = uint16_t(*port);
    options.isServer = serves;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout);
    auto store = c10::make_intrusive<c10d::TCPStore>(address, options);
    *port = store->getPort();
    *out = new Store{store};
  });
}

void rewind_store_free(Store *store) { delete store; }

char *rewind_store_set(Store *store, const char *key, const char *value) {
  return guarded([&] { store->store->set(key, std::vector<uint8_t>(value, value + std::strlen(value))); });
}

// The text of a key, once somebody set it; whoever asks frees it.
char *rewind_store_get(Store *store, const char *key, char **out) {
  return guarded([&] {
    const std::vector<uint8_t> value = store->store->get(key);
    *out = strdup(std::string(value.begin(), value.end()).c_str());
  });
}

// The process with this rank of `count`, which the others reach at `host`, or at the interface of that name.
char *rewind_group_open(Store *store, const char *prefix, int32_t rank, int32_t count, const char *host,
                        const char *interface, int64_t timeout, Group **out) {
  return guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout));
    options->devices.push_back(*interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                          : c10d::ProcessGroupGloo::createDeviceForHostname(host));
    auto own = c10::make_intrusive<c10d::PrefixStore>(prefix, store->store);
    *out = new Group{c10::make_intrusive<c10d::ProcessGroupGloo>(own, rank, count, options)};
  });
}

void rewind_group_free(Group *group) { delete group; }

// Sends part i of `from` to process i, and receives its part for this one as part i of `to`.
char *rewind_group_exchange(Group *group, const at::Tensor *from, const at::Tensor *to,
                            const std::atomic<bool> *given_up) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::Tensor input = *from, output = *to;
    std::vector<int64_t> equal;
    finish(group->group->alltoall_base(output, input, equal, equal), given_up);
  });
}

// Receives what every process sends, in their order.
char *rewind_group_gather(Group *group, const at::Tensor *from, const at::Tensor *to,
                          const std::atomic<bool> *given_up) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    // Gloo wants a row of the output.
    at::Tensor input = from->unsqueeze(0), output = *to;
    finish(group->group->_allgather_base(output, input), given_up);
  });
}

} // extern "C"

#else

#include "guarded.h"

#include <cstdint>

namespace {

char *nowhere() { return text_of("processes train together on Linux alone"); }

} // namespace

extern "C" {

char *rewind_store_open(const char *, int32_t *, bool, int64_t, void **) { return nowhere(); }
void rewind_store_free(void *) {}
char *rewind_store_set(void *, const char *, const char *) { return nowhere(); }
char *rewind_store_get(void *, const char *, char **) { return nowhere(); }
char *rewind_group_open(void *, const char *, int32_t, int32_t, const char *, const char *, int64_t, void **) {
  return nowhere();
}
void rewind_group_free(void *) {}
char *rewind_group_exchange(void *, const void *, const void *, const void *) { return nowhere(); }
char *rewind_group_gather(void *, const void *, const void *, const void *) { return nowhere(); }

} // extern "C"

#endif
