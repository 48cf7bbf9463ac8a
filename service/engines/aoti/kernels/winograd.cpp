// Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2015, arXiv:1509.09308).
//
// A tile of 4x4 outputs is evaluated at 6x6 points: an input tile of 6x6 is transformed (B^T d B),
// multiplied with the transformed weights at each point, over all channels, and transformed back (A^T m
// A). The points are 0, +-p, +-q and infinity with p = sqrt(1/2) and q = sqrt(2), whose transforms are
// better conditioned than those of 0, +-1, +-2.
//
// A side that 4 does not divide ends with a tile of 3, 2 or 1 outputs, which leaves out -q, then q,
// then -p. The rows of its B^T are multiplied by what that changes in the weights' transform, so
// that tiles of every size share one set of weights.
#include "convolution.h"

#include <omp.h>

#include <vector>

namespace sge {
namespace {

constexpr float p = 0.70710678118654752f, q = 1.41421356237309505f;
constexpr int kPoints = 6;                    // 0, p, -p, q, -q, infinity
constexpr int kChannels = 16;                 // transformed at a time: a cache line
constexpr int kParts = kChannels / kLanes;    // vectors of them
constexpr int kTilesOfOne = 24;               // whose values stay in the second cache of a core
constexpr int kTilesOfAll = 64;               // whose values stay in the cache that cores share
constexpr int kChannelsAtOnce = 64;           // output channels whose products are kept
constexpr long kSmallWeights = 4 << 20;       // bytes

// Whether a tile of `size` outputs is evaluated at a point.
constexpr bool has(int size, int point) {
  return point == 0 || point == 1 || point == 5 || point <= size;
}

// B^T d: size + 2 numbers to the values at its points.
template <int kSize>
SGE_INLINE void evaluate(const Vector* d, Vector* at) {
  if constexpr (kSize == 4) {
    const Vector even_p = d[4] - 2.f * d[2], odd_p = p * d[3] - q * d[1];
    const Vector even_q = d[4] - .5f * d[2], odd_q = q * d[3] - p * d[1];
    at[0] = d[0] - 2.5f * d[2] + d[4];
    at[1] = even_p + odd_p;
    at[2] = even_p - odd_p;
    at[3] = even_q + odd_q;
    at[4] = even_q - odd_q;
    at[5] = d[1] - 2.5f * d[3] + d[5];
  } else if constexpr (kSize == 3) {
    at[0] = d[0] - p * d[1] - 2.f * d[2] + q * d[3];
    at[1] = 3.f * p * (d[3] - d[1]) - 1.5f * d[2];
    at[2] = p * (d[3] + d[1]) - 1.5f * d[2];
    at[3] = 2.f * q * d[3] - q * d[1];
    at[5] = p * d[1] - .5f * d[2] - q * d[3] + d[4];
  } else if constexpr (kSize == 2) {
    at[0] = d[0] - 2.f * d[2];
    at[1] = -1.5f * (d[2] + p * d[1]);
    at[2] = -1.5f * (d[2] - p * d[1]);
    at[5] = d[3] - .5f * d[1];
  } else {
    at[0] = d[0] - q * d[1];
    at[1] = -3.f * p * d[1];
    at[5] = d[2] - p * d[1];
  }
}

// A^T m: the values at its points to `size` outputs.
template <int kSize>
SGE_INLINE void interpolate(const Vector* at, Vector* out) {
  if constexpr (kSize == 1) {
    out[0] = at[0] + at[1] + at[5];
  } else if constexpr (kSize == 2) {
    out[0] = at[0] + at[1] + at[2];
    out[1] = p * (at[1] - at[2]) + at[5];
  } else {
    const Vector sum_p = at[1] + at[2], difference_p = at[1] - at[2];
    const Vector sum_q = kSize == 4 ? at[3] + at[4] : at[3];
    const Vector difference_q = kSize == 4 ? at[3] - at[4] : at[3];
    out[0] = at[0] + sum_p + sum_q;
    out[1] = p * difference_p + q * difference_q;
    out[2] = .5f * sum_p + 2.f * sum_q;
    if constexpr (kSize == 4) {
      out[3] = .5f * p * difference_p + 2.f * q * difference_q + at[5];
    } else {
      out[2] += at[5];
    }
  }
}

// A side in tiles: all of 4, but for the last.
struct Side {
  int tiles, last;

  explicit Side(int length) : tiles((length + 3) / 4), last(length - 4 * (tiles - 1)) {}
};

struct Tile {
  int image, y, x;              // of its first output
  int height, width;            // 1 to 4
};

// The tiles of a batch, in an order in which those that are evaluated at a point lie side by side:
// last in x alone, last in neither, last in y alone, last in both.
class Tiling {
 public:
  explicit Tiling(const Shape& shape) : rows_(shape.height), columns_(shape.width) {
    const long full_y = rows_.tiles - 1, full_x = columns_.tiles - 1, images = shape.images;
    const long counts[] = {images * full_y, images * full_y * full_x, images * full_x, images};
    for (int kind = 0; kind < 4; kind++) starts_[kind + 1] = starts_[kind] + counts[kind];
  }

  long count() const { return starts_[4]; }

  Tile tile(long index) const {
    const int kind = (index >= starts_[1]) + (index >= starts_[2]) + (index >= starts_[3]);
    const bool ends_x = kind == 0 || kind == 3, ends_y = kind >= 2;
    const int across = ends_x ? 1 : columns_.tiles - 1, down = ends_y ? 1 : rows_.tiles - 1;
    const int within = static_cast<int>(index - starts_[kind]), place = within % (across * down);
    const int y = ends_y ? rows_.tiles - 1 : place / across;
    const int x = ends_x ? columns_.tiles - 1 : place % across;
    return {within / (across * down), 4 * y, 4 * x, ends_y ? rows_.last : 4,
            ends_x ? columns_.last : 4};
  }

  // Cuts a range of tiles down to those that are evaluated at point (y, x).
  void restrict_to(int y, int x, long* first, long* end) const {
    const bool for_last_y = has(rows_.last, y), for_last_x = has(columns_.last, x);
    *first = std::max(*first, starts_[for_last_x ? 0 : 1]);
    *end = std::min(*end, starts_[!for_last_y ? 2 : for_last_x ? 4 : 3]);
  }

 private:
  Side rows_, columns_;
  long starts_[5] = {};
};

// Values of several tiles at all points: [36][tiles][channels]. A cache line lies between tiles and
// between points, else the 36 places that one tile writes share a set of the cache.
struct Values {
  float* numbers;
  long tile;   // numbers between tiles
  long point;  // numbers between points

  static long size(long tiles, long channels) { return kPoints * kPoints * stride(tiles, channels); }
  static Values in(float* memory, long tiles, long channels) {
    return {memory, channels + kChannels, stride(tiles, channels)};
  }

 private:
  static long stride(long tiles, long channels) {
    return tiles * (channels + kChannels) + kChannels;
  }
};

// Values of a tile and 16 channels after its first direction: [points or outputs][columns][parts].
typedef Vector Columns[kPoints][kPoints][kParts];

// The first direction of B^T d B, made for each height; columns of pixels are `from[row][column]`.
template <int kHeight>
void evaluate_down(const float* const (*from)[kPoints], int width, int channel, Columns& columns) {
  for (int j = 0; j < width + 2; j++) {
    SGE_UNROLL for (int part = 0; part < kParts; part++) {
      Vector d[kHeight + 2], at[kPoints];
      SGE_UNROLL for (int i = 0; i < kHeight + 2; i++) {
        d[i] = load(from[i][j] + channel + part * kLanes);
      }
      evaluate<kHeight>(d, at);
      SGE_UNROLL for (int i = 0; i < kPoints; i++) {
        if (has(kHeight, i)) columns[i][j][part] = at[i];
      }
    }
  }
}

// The second direction, made for each width.
template <int kWidth>
void evaluate_across(const Columns& columns, int height, int channel, const Values& values) {
  for (int i = 0; i < kPoints; i++) {
    if (!has(height, i)) continue;
    float* to = values.numbers + i * kPoints * values.point + channel;
    SGE_UNROLL for (int part = 0; part < kParts; part++) {
      Vector d[kWidth + 2], at[kPoints];
      SGE_UNROLL for (int j = 0; j < kWidth + 2; j++) d[j] = columns[i][j][part];
      evaluate<kWidth>(d, at);
      SGE_UNROLL for (int j = 0; j < kPoints; j++) {
        if (has(kWidth, j)) store(to + j * values.point + part * kLanes, at[j]);
      }
    }
  }
}

// The first direction of A^T m A, made for each height.
template <int kHeight>
void interpolate_down(const Values& values, int width, int channel, Columns& columns) {
  for (int j = 0; j < kPoints; j++) {
    if (!has(width, j)) continue;
    SGE_UNROLL for (int part = 0; part < kParts; part++) {
      Vector at[kPoints], out[kHeight];
      SGE_UNROLL for (int i = 0; i < kPoints; i++) {
        if (!has(kHeight, i)) continue;
        at[i] = load(values.numbers + (i * kPoints + j) * values.point + channel + part * kLanes);
      }
      interpolate<kHeight>(at, out);
      SGE_UNROLL for (int i = 0; i < kHeight; i++) columns[i][j][part] = out[i];
    }
  }
}

// The second direction, made for each width; `corner` is the tile's first output.
template <int kWidth>
void interpolate_across(const Columns& columns, const Shape& shape, int height, long corner,
                        int channel, const Output& output) {
  for (int i = 0; i < height; i++) {
    SGE_UNROLL for (int part = 0; part < kParts; part++) {
      Vector at[kPoints], out[kWidth];
      SGE_UNROLL for (int j = 0; j < kPoints; j++) {
        if (has(kWidth, j)) at[j] = columns[i][j][part];
      }
      interpolate<kWidth>(at, out);
      const int column = channel + part * kLanes;
      const Vector bias = load(output.bias + column);
      SGE_UNROLL for (int j = 0; j < kWidth; j++) {
        const long at_output = (corner + long{i} * shape.width + j) * output.width + column;
        Vector sum = out[j] + bias;
        if (output.shortcut) sum += load(output.shortcut + at_output);
        store(output.numbers + at_output, output.relu ? relu(sum) : sum);
      }
    }
  }
}

constexpr decltype(&evaluate_down<4>) kEvaluateDown[] = {
    evaluate_down<1>, evaluate_down<2>, evaluate_down<3>, evaluate_down<4>};
constexpr decltype(&evaluate_across<4>) kEvaluateAcross[] = {
    evaluate_across<1>, evaluate_across<2>, evaluate_across<3>, evaluate_across<4>};
constexpr decltype(&interpolate_down<4>) kInterpolateDown[] = {
    interpolate_down<1>, interpolate_down<2>, interpolate_down<3>, interpolate_down<4>};
constexpr decltype(&interpolate_across<4>) kInterpolateAcross[] = {
    interpolate_across<1>, interpolate_across<2>, interpolate_across<3>, interpolate_across<4>};

void evaluate_tile(const Shape& shape, const float* maps, const float* zeros, const Tile& tile,
                   const Values& values) {
  const float* from[kPoints][kPoints];
  for (int i = 0; i < tile.height + 2; i++) {
    for (int j = 0; j < tile.width + 2; j++) {
      const int y = tile.y - 1 + i, x = tile.x - 1 + j;
      const bool is_inside = y >= 0 && y < shape.height && x >= 0 && x < shape.width;
      const long pixel = (long{tile.image} * shape.height + y) * shape.width + x;
      from[i][j] = is_inside ? maps + pixel * shape.channels : zeros;
    }
  }
  const auto down = kEvaluateDown[tile.height - 1];
  const auto across = kEvaluateAcross[tile.width - 1];
  for (int channel = 0; channel < shape.channels; channel += kChannels) {
    Columns columns;
    down(from, tile.width, channel, columns);
    across(columns, tile.height, channel, values);
  }
}

void interpolate_tile(const Shape& shape, const Tile& tile, const Values& values, int channels,
                      const Output& output) {
  const long corner = (long{tile.image} * shape.height + tile.y) * shape.width + tile.x;
  const auto down = kInterpolateDown[tile.height - 1];
  const auto across = kInterpolateAcross[tile.width - 1];
  for (int channel = 0; channel < channels; channel += kChannels) {
    Columns columns;
    down(values, tile.width, channel, columns);
    across(columns, shape, tile.height, corner, channel, output);
  }
}

// One convolution: what its parts have in common.
struct Winograd {
  const Shape& shape;
  const float* maps;
  const float* weights;
  const Output& output;
  const float* zeros;
  Tiling tiling;

  void evaluate(long tile, float* numbers, const Values& values) const {
    evaluate_tile(shape, maps, zeros, tiling.tile(tile), {numbers, values.tile, values.point});
  }

  // Products of `count` tiles from `first` on at every point, for some panels of output channels.
  void multiply_points(long first, int count, const Values& values, int panel, int panels,
                       const float** pieces, const Values& products) const {
    for (int y = 0; y < kPoints; y++) {
      for (int x = 0; x < kPoints; x++) {
        long from = first, end = first + count;
        tiling.restrict_to(y, x, &from, &end);
        const int some = static_cast<int>(end - from), point = y * kPoints + x;
        if (some <= 0) continue;
        const float* rows = values.numbers + point * values.point + (from - first) * values.tile;
        for (int tile = 0; tile < some; tile++) pieces[tile] = rows + tile * values.tile;
        const long depth = shape.channels;
        const long all_panels = shape.outputs / kPanel;
        multiply(some, {pieces, some, 1, shape.channels}, panels,
                 weights + (point * all_panels + panel) * depth * kPanel,
                 {products.numbers + point * products.point + (from - first) * products.tile,
                  products.tile});
      }
    }
  }

  void interpolate(long tile, const float* numbers, const Values& products, int panel,
                   int panels) const {
    const Values its{const_cast<float*>(numbers), products.tile, products.point};
    interpolate_tile(shape, tiling.tile(tile), its, panels * kPanel,
                     output.from(0, panel * kPanel));
  }
};

}  // namespace

void convolve_by_winograd(const Shape& shape, const float* maps, const float* weights,
                          const Output& output) {
  const std::vector<float> zeros(shape.channels);
  const Winograd winograd{shape, maps, weights, output, zeros.data(), Tiling(shape)};
  const int threads = omp_get_max_threads(), panels = shape.outputs / kPanel;
  const long tiles = winograd.tiling.count();
  const long weight_bytes = kPoints * kPoints * sizeof(float) * shape.channels * shape.outputs;
  // Each thread takes tiles, and reads all weights for each block of them; or, where weights are what
  // is large, output channels, and reads its share of them once.
  const bool over_tiles = weight_bytes <= kSmallWeights && tiles >= threads * kTilesOfOne / 2;
  const long most = std::min<long>(over_tiles ? kTilesOfOne : kTilesOfAll, tiles);
  const int few = over_tiles ? panels : panels / (2 * threads);
  const int some_panels = std::clamp(few, 1, std::max(1, kChannelsAtOnce / kPanel));
  const int parts = (panels + some_panels - 1) / some_panels;
  const long of_values = Values::size(most, shape.channels);
  const long of_products = Values::size(most, some_panels * kPanel);
  const long blocks = (tiles + most - 1) / most;
  std::vector<const float*> all_pieces(threads * most);

  const auto multiply_part = [&](int part, long first, int count, const Values& values,
                                 const float** pieces, const Values& products) {
    const int panel = part * some_panels, some = std::min(some_panels, panels - panel);
    winograd.multiply_points(first, count, values, panel, some, pieces, products);
    for (int tile = 0; tile < count; tile++) {
      winograd.interpolate(first + tile, products.numbers + tile * products.tile, products, panel,
                           some);
    }
  };

  if (over_tiles) {
    const long shares = (blocks + threads - 1) / threads * threads;  // as many for each thread
    float* memory = scratch(threads * (of_values + of_products));
#pragma omp parallel num_threads(threads)
    {
      float* own = memory + omp_get_thread_num() * (of_values + of_products);
      const Values values = Values::in(own, most, shape.channels);
      const Values products = Values::in(own + of_values, most, some_panels * kPanel);
      const float** pieces = all_pieces.data() + omp_get_thread_num() * most;
#pragma omp for schedule(dynamic, 1)
      for (long share = 0; share < shares; share++) {
        const long first = tiles * share / shares;
        const int count = static_cast<int>(tiles * (share + 1) / shares - first);
        for (int tile = 0; tile < count; tile++) {
          winograd.evaluate(first + tile, values.numbers + tile * values.tile, values);
        }
        for (int part = 0; part < parts; part++) {
          multiply_part(part, first, count, values, pieces, products);
        }
      }
    }
    return;
  }
  float* memory = scratch(of_values + threads * of_products);
  const Values values = Values::in(memory, most, shape.channels);
#pragma omp parallel num_threads(threads)
  {
    float* own = memory + of_values + omp_get_thread_num() * of_products;
    const Values products = Values::in(own, most, some_panels * kPanel);
    const float** pieces = all_pieces.data() + omp_get_thread_num() * most;
    for (long block = 0; block < blocks; block++) {
      const long first = tiles * block / blocks;
      const int count = static_cast<int>(tiles * (block + 1) / blocks - first);
#pragma omp for schedule(static)
      for (int tile = 0; tile < count; tile++) {
        winograd.evaluate(first + tile, values.numbers + tile * values.tile, values);
      }
#pragma omp for schedule(dynamic, 1)
      for (int part = 0; part < parts; part++) {
        multiply_part(part, first, count, values, pieces, products);
      }
    }
  }
}

}  // namespace sge
