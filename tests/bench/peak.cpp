// The most multiply-adds that a processor does: nothing is loaded, and no sum waits for another.
#include "vector.h"

namespace {
constexpr int kSums = 12;  // more than a processor has under way, fewer than it has registers
// What the compiler cannot know, and what it must compute.
volatile float factor_of_all = 0.999f, addend_of_all = 0.001f, result;
}  // namespace

// Returns how many operations were done: a multiplication and a sum are two.
extern "C" double multiply_and_add(int threads, int64_t rounds) {
  float total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    const sge::Vector factor = sge::broadcast(factor_of_all);
    const sge::Vector addend = sge::broadcast(addend_of_all);
    sge::Vector sums[kSums];
    SGE_UNROLL for (int i = 0; i < kSums; ++i) sums[i] = sge::broadcast(static_cast<float>(i));
    for (int64_t round = 0; round < rounds; ++round) {
      SGE_UNROLL for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + addend;
    }
    SGE_UNROLL for (int i = 0; i < kSums; ++i) total += sums[i][0];
  }
  result = total;
  return 2.0 * threads * static_cast<double>(rounds) * kSums * sge::kLanes;
}
