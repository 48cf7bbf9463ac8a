#include "convolution.h"

#include <omp.h>

#include <vector>

namespace sge {
namespace {

constexpr long kBlockBytes = 192 * 1024;      // of rows that a thread reads again for each panel
constexpr long kLargeWeights = 3 << 20;       // bytes that are read again for each block of rows
constexpr int kRowsForLarge = 16 * kRows;

// The pieces of `count` output positions from `first` on; `zeros` stands for what is outside.
void gather(const Shape& shape, const float* maps, const float* zeros, long first, int count,
            const float** pieces) {
  const int out_width = shape.out_width(), out_height = shape.out_height();
  for (int r = 0; r < count; r++) {
    const long position = first + r;
    const int x = static_cast<int>(position % out_width) * shape.stride - shape.padding;
    const int y =
        static_cast<int>(position / out_width % out_height) * shape.stride - shape.padding;
    const float* image = maps + position / out_width / out_height *
                                    (long{shape.height} * shape.width * shape.channels);
    for (int dy = 0; dy < shape.kernel; dy++) {
      const float* line = image + long{y + dy} * shape.width * shape.channels;
      if (shape.padding == 0) {  // the pieces of a line are one
        pieces[dy * count + r] = line + long{x} * shape.channels;
        continue;
      }
      const bool is_outside = y + dy < 0 || y + dy >= shape.height;
      for (int dx = 0; dx < shape.kernel; dx++) {
        pieces[(dy * shape.kernel + dx) * count + r] =
            is_outside || x + dx < 0 || x + dx >= shape.width
                ? zeros
                : line + long{x + dx} * shape.channels;
      }
    }
  }
}

}  // namespace

void convolve_directly(const Shape& shape, const float* maps, const float* weights,
                       const Output& output) {
  const bool has_lines = shape.padding == 0;
  const int runs = has_lines ? shape.kernel : shape.kernel * shape.kernel;
  const int length = has_lines ? shape.kernel * shape.channels : shape.channels;
  const long depth = long{runs} * length;
  const int panels = shape.outputs / kPanel, threads = omp_get_max_threads();
  const long positions = shape.positions();

  const bool is_large = depth * shape.outputs * long{sizeof(float)} > kLargeWeights;
  const long fitting = std::max<long>(kBlockBytes / (depth * long{sizeof(float)}),
                                      is_large ? kRowsForLarge : 2 * kRows);
  const int row_blocks = static_cast<int>((positions + fitting - 1) / fitting);
  // Where rows alone do not occupy every thread evenly, panels are shared out as well.
  int panel_blocks = 1;
  while (row_blocks * panel_blocks < 4 * threads && panel_blocks * 2 <= panels) panel_blocks *= 2;
  const int tasks = row_blocks * panel_blocks;

  const std::vector<float> zeros(shape.channels);
  const long of_one = runs * (fitting + 1);
  std::vector<const float*> all_pieces(threads * of_one);

#pragma omp parallel num_threads(threads)
  {
    const float** pieces = all_pieces.data() + omp_get_thread_num() * of_one;
    int gathered = -1;
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < tasks; task++) {
      const int row_block = task % row_blocks, panel_block = task / row_blocks;
      const long first = positions * row_block / row_blocks;
      const int count = static_cast<int>(positions * (row_block + 1) / row_blocks - first);
      const int first_panel = panels * panel_block / panel_blocks;
      const int some = panels * (panel_block + 1) / panel_blocks - first_panel;
      if (gathered != row_block) {
        gather(shape, maps, zeros.data(), first, count, pieces);
        gathered = row_block;
      }
      multiply(count, {pieces, count, runs, length}, some,
               weights + first_panel * depth * kPanel, output.from(first, first_panel * kPanel));
    }
  }
}

}  // namespace sge
