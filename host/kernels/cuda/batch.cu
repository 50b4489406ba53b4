// A batch of images from those in memory: gathered, cropped, flipped and normalised in one pass, one thread a
// number of the batch.

#include "shared.cuh"

// `images`: [samples, channels, height, width] bytes; `indices`: [count]. `draws`: [3, count], the offset of each
// image's first row and of its first column in a plane with `crop` zeros around, and the step from one column to
// the next, 1 or -1; null where nothing is changed. `scale` and `shift`: [channels], of (pixel / 255 - mean) / std as
// one product and one sum. `out`: [count, channels, height, width], or [count, height, width, channels] with
// `channels_last`. What an index that is none of the samples asks for is NaN, so that it reaches the loss.
extern "C" __global__ void gather_images(const Byte *images, const Int64 *indices, const Int64 *draws,
                                         const float *scale, const float *shift, float *out, Int64 samples,
                                         Int64 count, Int64 channels, Int64 height, Int64 width, Int64 crop,
                                         Int64 channels_last) {
  const Int64 at = place();
  const Split image = split(at, channels * height * width);
  if (image.outer >= count) return;
  Int64 channel, pixel;
  if (channels_last) {
    const Split found = split(image.inner, channels);
    pixel = found.outer, channel = found.inner;
  } else {
    const Split found = split(image.inner, height * width);
    channel = found.outer, pixel = found.inner;
  }
  const Int64 sample = indices[image.outer];
  if (sample < 0 || sample >= samples) {
    out[at] = not_a_number();
    return;
  }
  Split source = split(pixel, width);
  if (draws) {
    const Int64 padded_width = width + 2 * crop;
    const Int64 rows = draws[image.outer], column = draws[count + image.outer], step = draws[2 * count + image.outer];
    source = split(rows + source.outer * padded_width + column + step * source.inner, padded_width);
    source.outer -= crop;
    source.inner -= crop;
  }
  const bool inside = source.outer >= 0 && source.outer < height && source.inner >= 0 && source.inner < width;
  const Byte value = inside ? images[((sample * channels + channel) * height + source.outer) * width + source.inner] : 0;
  out[at] = float(value) * scale[channel] + shift[channel];
}
