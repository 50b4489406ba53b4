// See ../README: names that libtorch's headers mention.
#pragma once

#include <chrono>

namespace gloo {

class Context {
public:
  // Called by an inline function of libtorch's that nothing here calls.
  void setTimeout(std::chrono::milliseconds timeout);
};

} // namespace gloo
