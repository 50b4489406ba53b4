// See ../../README: names that libtorch's headers mention.
#pragma once
