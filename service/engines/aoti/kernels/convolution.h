// Convolutions of float32 maps (B, H, W, C), channels last, with weights packed for this processor
// (weights.py). K: output channels, G: groups of SGE.
#pragma once

#include "product.h"

namespace sge {

struct Shape {
  int images, height, width, channels;  // of what is read: B, H, W, C
  int kernel, stride, padding;
  int outputs;  // K, a multiple of kPanel

  int out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  int out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
  long positions() const { return long{images} * out_height() * out_width(); }
};

// As a product of rows, which an indirection buffer gathers. Weights: [K / kPanel][kernel * kernel *
// C][kPanel].
void convolve_directly(const Shape& shape, const float* maps, const float* weights,
                       const Output& output);

// By Winograd's minimal filtering, for 3x3, stride 1, padding 1 and C a multiple of 16; `output` has no
// gates. Weights: [36][K / kPanel][C][kPanel].
void convolve_by_winograd(const Shape& shape, const float* maps, const float* weights,
                          const Output& output);

// How much each position resembles its groups' descriptors in the output of a convolution of 1x1, from
// the convolution's input: (B, H, W, G), less the mean of each image and group. G: a multiple of kPanel,
// C: of 16.
void compare(const Shape& shape, const float* maps, const float* weights, const float* bias,
             int groups, float* similarity);

// Memory that a thread keeps for its next call: at least so many numbers, on a cache line. No kernel asks
// for more than some megabytes and one or two for each thread, whatever the batch.
float* scratch(std::size_t numbers);

}  // namespace sge
