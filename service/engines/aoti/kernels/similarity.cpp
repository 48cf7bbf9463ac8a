// What SGE compares, of a convolution of 1x1 that has not run yet (model/fuse.py).
#include "convolution.h"

#include <omp.h>

#include <vector>

namespace sge {
namespace {

constexpr long kBlockRows = 96;
constexpr long kSummed = 128;
constexpr int kImagesAtOnce = 32;  // whose directions are kept: 4 MB where C is 512 and G 64

// The mean over positions of `width` channels from one on, a line of the cache at a time. Sums of some
// positions are added up, since one sum over all of a large map would lose digits.
void average(const float* maps, long positions, int channels, int width, float* mean) {
  constexpr int kParts = kLine / kLanes;
  std::fill_n(mean, width, 0.f);
  for (long first = 0; first < positions; first += kSummed) {
    const long end = std::min(first + kSummed, positions);
    for (int channel = 0; channel < width; channel += kLine) {
      Vector sums[kParts] = {};
      for (long at = first; at < end; at++) {
        SGE_UNROLL for (int part = 0; part < kParts; part++) {
          sums[part] += load(maps + at * channels + channel + part * kLanes);
        }
      }
      SGE_UNROLL for (int part = 0; part < kParts; part++) {
        float* to = mean + channel + part * kLanes;
        store(to, load(to) + sums[part] / static_cast<float>(positions));
      }
    }
  }
}

// to[c] += the sum over kCount panels of weights of descriptor * panel[c], for all input channels c.
template <int kCount>
void add_panels(const float* weights, long between, const float* descriptors, int apart, long depth,
                float* to) {
  Vector factors[kCount][kVectors];
  SGE_UNROLL for (int i = 0; i < kCount; i++) {
    SGE_UNROLL for (int v = 0; v < kVectors; v++) {
      factors[i][v] = load(descriptors + i * apart + v * kLanes);
    }
  }
  for (long at = 0; at < depth * kPanel; at += kPanel) {
    SGE_UNROLL for (int v = 0; v < kVectors; v++) {
      Vector sum = load(to + at + v * kLanes);
      SGE_UNROLL for (int i = 0; i < kCount; i++) {
        sum += factors[i][v] * load(weights + i * between + at + v * kLanes);
      }
      store(to + at + v * kLanes, sum);
    }
  }
}

// What each position of one image is multiplied with, for a panel of groups: for each input channel
// c and group g the sum over the channels k of g of descriptor[k] * W[k][c]. Its product with the mean
// is what positions are compared with; `centre` gets it, negative.
void direct_panel(const Shape& shape, const float* weights, const float* descriptors,
                  const float* mean, int groups, int panel, float* directions, float* centre) {
  const long depth = shape.channels, between = groups * depth;
  std::fill_n(directions, depth * kPanel, 0.f);
  int k = panel * kPanel;
  for (; k + 3 * groups < shape.outputs; k += 4 * groups) {
    add_panels<4>(weights + k * depth, between, descriptors + k, groups, depth, directions);
  }
  for (; k < shape.outputs; k += groups) {
    add_panels<1>(weights + k * depth, between, descriptors + k, groups, depth, directions);
  }
  SGE_UNROLL for (int v = 0; v < kVectors; v++) {
    Vector sum = {};
    for (long c = 0; c < depth; c++) sum -= mean[c] * load(directions + c * kPanel + v * kLanes);
    store(centre + v * kLanes, sum);
  }
}

void compare_some(const Shape& shape, const float* maps, const float* weights, const float* bias,
                  int groups, float* similarity) {
  const long positions = long{shape.height} * shape.width, depth = shape.channels;
  const int threads = omp_get_max_threads(), panels = groups / kPanel;
  float* means = scratch(shape.images * (depth + shape.outputs + depth * groups + groups));
  float* descriptors = means + shape.images * depth;
  float* directions = descriptors + long{shape.images} * shape.outputs;
  float* centres = directions + shape.images * depth * groups;
  // Where images are fewer than threads, their channels are shared out, too.
  const int cuts = shape.images >= threads ? 1 : static_cast<int>(depth / kLine);
  const int width = static_cast<int>(depth) / cuts;
  const int blocks = static_cast<int>((positions + kBlockRows - 1) / kBlockRows);
  const long of_one = std::max<long>(kBlockRows, shape.images);
  std::vector<const float*> all_pieces(threads * of_one);

#pragma omp parallel num_threads(threads)
  {
    const float** pieces = all_pieces.data() + omp_get_thread_num() * of_one;
#pragma omp for collapse(2) schedule(static)
    for (int image = 0; image < shape.images; image++) {
      for (int cut = 0; cut < cuts; cut++) {
        average(maps + image * positions * depth + cut * width, positions, shape.channels, width,
                means + image * depth + cut * width);
      }
    }
    for (int image = 0; image < shape.images; image++) pieces[image] = means + image * depth;
#pragma omp for schedule(static)
    for (int panel = 0; panel < shape.outputs / kPanel; panel++) {
      multiply(shape.images, {pieces, shape.images, 1, shape.channels}, 1,
               weights + panel * depth * kPanel,
               {descriptors + panel * kPanel, shape.outputs, bias + panel * kPanel});
    }
#pragma omp for collapse(2) schedule(static)
    for (int panel = 0; panel < panels; panel++) {
      for (int image = 0; image < shape.images; image++) {
        direct_panel(shape, weights, descriptors + long{image} * shape.outputs,
                     means + image * depth, groups, panel,
                     directions + (long{image} * groups + panel * kPanel) * depth,
                     centres + long{image} * groups + panel * kPanel);
      }
    }
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int image = 0; image < shape.images; image++) {
      for (int block = 0; block < blocks; block++) {
        const long first = positions * block / blocks;
        const int count = static_cast<int>(positions * (block + 1) / blocks - first);
        const long row = image * positions + first;
        for (int r = 0; r < count; r++) pieces[r] = maps + (row + r) * depth;
        multiply(count, {pieces, count, 1, shape.channels}, panels,
                 directions + image * depth * groups,
                 {similarity + row * groups, groups, centres + long{image} * groups});
      }
    }
  }
}

}  // namespace

void compare(const Shape& shape, const float* maps, const float* weights, const float* bias,
             int groups, float* similarity) {
  const long positions = long{shape.height} * shape.width;
  for (int first = 0; first < shape.images; first += kImagesAtOnce) {
    Shape some = shape;
    some.images = std::min(kImagesAtOnce, shape.images - first);
    compare_some(some, maps + first * positions * shape.channels, weights, bias, groups,
                 similarity + first * positions * groups);
  }
}

}  // namespace sge
