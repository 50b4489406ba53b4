// What the kernels ask of autocast, whose own header brings all of libtorch's.
#pragma once

#include <c10/core/ScalarType.h>

// Whether autocast is on for the CPU, and what it computes in.
bool rewind_autocasts();
c10::ScalarType rewind_autocast_kind();
