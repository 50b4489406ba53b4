// Exceptions must not leave C++: they become texts.
#pragma once

#include <cstring>
#include <exception>
#include <string>

namespace {

// The text without libtorch's backtrace.
inline char *text_of(std::string message) {
  const auto trace = message.find("\nException raised from");
  if (trace != std::string::npos) message.resize(trace);
  return strdup(message.c_str());
}

// Runs `body`, turning exceptions into a text.
template <typename Body> char *guarded(const Body &body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &error) {
    return text_of(error.what());
  } catch (...) {
    return text_of("unknown C++ exception");
  }
}

} // namespace
