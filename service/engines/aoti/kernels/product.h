// The micro-kernel: a few rows times a panel of weights, summed in registers, and what follows a
// convolution done before the sums leave them.
#pragma once

#include <algorithm>

#include "vector.h"

namespace sge {

// Of 16 registers (AVX2) 12 hold sums, two the panel and one the broadcast number; of 32 (AVX-512)
// 24 hold sums.
constexpr int kVectors = 2;
constexpr int kPanel = kVectors * kLanes;  // output channels of a panel
constexpr int kLine = 16;  // float32 in a line of the cache
constexpr int kRows = kLanes == 16 ? 12 : 6;

// Rows that a product reads: `runs` pieces of `length` contiguous numbers each. Piece i of row r
// starts at pieces[i * stride + r]: an indirection buffer (Dukhan 2019, arXiv:1907.02129).
struct Rows {
  const float* const* pieces;
  int stride;
  int runs;
  int length;

  Rows from(int row) const { return {pieces + row, stride, runs, length}; }
  int depth() const { return runs * length; }
};

// Where sums go, and what becomes of them: relu((sum + bias) * gate + shortcut), each part of it
// where it is asked for. Rows are positions, columns are output channels.
struct Output {
  float* numbers;  // row r, column k: numbers[r * width + k]
  long width;
  const float* bias = nullptr;      // (K)
  const float* shortcut = nullptr;  // laid out as `numbers`
  const float* gates = nullptr;     // (rows, G): column k has the gate of group k % G
  int groups = 0;                   // G, a multiple of kPanel
  bool relu = false;
  int column = 0;  // the first one's number: it has the gate of that group

  // The same with another first row and column.
  Output from(long row, int by) const {
    Output moved = *this;
    const long offset = row * width + by;
    moved.numbers += offset;
    if (bias) moved.bias += by;
    if (shortcut) moved.shortcut += offset;
    if (gates) moved.gates += row * groups;
    moved.column += by;
    return moved;
  }
};

// Sums kCount rows with one panel [depth][kPanel]; `output` is that of the first row and column. With
// kAhead it fetches the next kCount rows into the second cache meanwhile.
template <int kCount, bool kAhead>
static void multiply_rows(const Rows& rows, const float* panel, const Output& output) {
  Vector sums[kCount][kVectors] = {};
  SGE_UNROLL for (int r = 0; r < kCount; r++) {
    const long offset = r * output.width;
    SGE_UNROLL for (int line = 0; line < kPanel; line += kLine) {
      __builtin_prefetch(output.numbers + offset + line, 1);
      if (output.shortcut) __builtin_prefetch(output.shortcut + offset + line);
    }
  }
  for (int run = 0; run < rows.runs; run++) {
    const float* const* pieces = rows.pieces + run * rows.stride;
    const float* row[kCount];
    SGE_UNROLL for (int r = 0; r < kCount; r++) row[r] = pieces[r];
#define SGE_STEP(k)                                                                        \
  {                                                                                        \
    Vector weights[kVectors];                                                              \
    SGE_UNROLL for (int v = 0; v < kVectors; v++) weights[v] = load(panel + v * kLanes);   \
    SGE_UNROLL for (int r = 0; r < kCount; r++) {                                          \
      const Vector number = broadcast(row[r][k]);                                          \
      SGE_UNROLL for (int v = 0; v < kVectors; v++) sums[r][v] += number * weights[v];     \
    }                                                                                      \
    panel += kPanel;                                                                       \
    asm volatile("" ::: "memory"); /* else rows are loaded ahead and the sums spilled */   \
  }
    long k = 0;
    for (; k + 4 <= rows.length; k += 4) {
      if (kAhead && k % kLine == 0) {
        SGE_UNROLL for (int r = 0; r < kCount; r++) {
          __builtin_prefetch(pieces[kCount + r] + k, 0, 2);
        }
      }
      SGE_STEP(k) SGE_STEP(k + 1) SGE_STEP(k + 2) SGE_STEP(k + 3)
    }
    for (; k < rows.length; k++) SGE_STEP(k)
#undef SGE_STEP
  }
  SGE_UNROLL for (int v = 0; v < kVectors; v++) {
    if (output.bias) {
      const Vector bias = load(output.bias + v * kLanes);
      SGE_UNROLL for (int r = 0; r < kCount; r++) sums[r][v] += bias;
    }
    if (output.gates) {
      const float* gates = output.gates + output.column % output.groups + v * kLanes;
      SGE_UNROLL for (int r = 0; r < kCount; r++) {
        sums[r][v] *= load(gates + r * long{output.groups});
      }
    }
    if (output.shortcut) {
      SGE_UNROLL for (int r = 0; r < kCount; r++) {
        sums[r][v] += load(output.shortcut + r * output.width + v * kLanes);
      }
    }
    if (output.relu) {
      SGE_UNROLL for (int r = 0; r < kCount; r++) sums[r][v] = relu(sums[r][v]);
    }
    SGE_UNROLL for (int r = 0; r < kCount; r++) {
      store(output.numbers + r * output.width + v * kLanes, sums[r][v]);
    }
  }
}

template <bool kAhead, int kCount = kRows>
SGE_INLINE void multiply_some(int count, const Rows& rows, const float* panel,
                              const Output& output) {
  if constexpr (kCount > 1) {
    if (count < kCount) return multiply_some<kAhead, kCount - 1>(count, rows, panel, output);
  }
  multiply_rows<kCount, kAhead>(rows, panel, output);
}

// Rows times panels [panels][depth][kPanel]: a panel stays in the first cache while the blocks of rows
// pass by, which the second has from the first panel on. Blocks are balanced: 32 rows are 6+6+5+5+5+5.
inline void multiply(int count, const Rows& rows, int panels, const float* weights,
                     const Output& output) {
  const int blocks = (count + kRows - 1) / kRows;
  for (int panel = 0; panel < panels; panel++) {
    const float* of_panel = weights + long{panel} * rows.depth() * kPanel;
    for (int block = 0; block < blocks; block++) {
      const int first = count * block / blocks;
      const int some = count * (block + 1) / blocks - first;
      const Output to = output.from(first, panel * kPanel);
      if (panel == 0 && first + 2 * some <= count) {
        multiply_some<true>(some, rows.from(first), of_panel, to);
      } else {
        multiply_some<false>(some, rows.from(first), of_panel, to);
      }
    }
  }
}

}  // namespace sge
