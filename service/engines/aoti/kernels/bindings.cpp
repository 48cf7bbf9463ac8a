// What is called from outside: by a compiled program through torch's C interface (the names and
// signatures are those of operators.py), and by ctypes.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "convolution.h"

namespace sge {

// Kept, since memory of some megabytes comes anew from the system, page by page.
float* scratch(std::size_t numbers) {
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  static thread_local std::unique_ptr<float, Free> kept;
  static thread_local std::size_t size = 0;
  if (numbers > size) {
    kept.reset();
    size = (numbers + 1023) / 1024 * 1024;
    kept.reset(static_cast<float*>(std::aligned_alloc(4096, size * sizeof(float))));
    if (!kept) {
      size = 0;
      throw std::bad_alloc();
    }
  }
  return kept.get();
}

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// What an operator is given: float32, contiguous, channels last.
struct Tensor {
  float* numbers = nullptr;
  std::vector<int64_t> sizes;

  explicit Tensor(AtenTensorHandle handle) {
    void* data = nullptr;
    int64_t dimensions = 0, *found = nullptr, *strides = nullptr;
    int32_t type = 0;
    check(aoti_torch_get_data_ptr(handle, &data));
    check(aoti_torch_get_dim(handle, &dimensions));
    check(aoti_torch_get_sizes(handle, &found));
    check(aoti_torch_get_strides(handle, &strides));
    check(aoti_torch_get_dtype(handle, &type));
    require(type == aoti_torch_dtype_float32(), "a tensor is not float32");
    numbers = static_cast<float*>(data);
    sizes.assign(found, found + dimensions);
    int64_t stride = 1;
    for (int64_t i = dimensions - 1; i >= 0; i--) {
      require(sizes[i] == 1 || strides[i] == stride, "a tensor is not contiguous");
      stride *= sizes[i];
    }
  }
  // An optional one.
  explicit Tensor(AtenTensorHandle* handle) {
    if (handle) *this = Tensor(*handle);
  }

  static void check(AOTITorchError status) { require(status == AOTI_TORCH_SUCCESS, "no tensor"); }
  int size(int dimension) const { return static_cast<int>(sizes.at(dimension)); }
};

// Weights, which were packed for panels of this width.
const float* packed(AtenTensorHandle handle) {
  const Tensor weights(handle);
  require(!weights.sizes.empty() && weights.sizes.back() == kPanel, "weights of another processor");
  return weights.numbers;
}

// A new tensor: (B, H, W, C), its memory not set.
Tensor allocate(int64_t images, int64_t height, int64_t width, int64_t channels,
                AtenTensorHandle* handle) {
  const int64_t sizes[] = {images, height, width, channels};
  const int64_t strides[] = {height * width * channels, width * channels, channels, 1};
  Tensor::check(aoti_torch_empty_strided(4, sizes, strides, aoti_torch_dtype_float32(),
                                           aoti_torch_device_type_cpu(), 0, handle));
  return Tensor(*handle);
}

template <class Call>
AOTITorchError guarded(const char* name, const Call& call) {
  try {
    call();
    return AOTI_TORCH_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return AOTI_TORCH_FAILURE;
  }
}

}  // namespace
}  // namespace sge

#define SGE_EXPORT __attribute__((visibility("default")))

extern "C" {

// Output channels that are summed at a time, which the weights' order depends on.
SGE_EXPORT int sge_panel() { return sge::kPanel; }

SGE_EXPORT AOTITorchError aoti_torch_cpu_convolve(AtenTensorHandle maps, AtenTensorHandle weights,
                                       AtenTensorHandle winograd, AtenTensorHandle bias,
                                       int64_t kernel, int64_t stride, int64_t padding,
                                       int64_t winograd_from, int32_t relu,
                                       AtenTensorHandle* gates, AtenTensorHandle* shortcut,
                                       AtenTensorHandle* result) {
  return sge::guarded("convolve", [&] {
    const sge::Tensor from(maps), offsets(bias), given_gates(gates), added(shortcut);
    const sge::Shape shape{from.size(0),
                           from.size(1),
                           from.size(2),
                           from.size(3),
                           static_cast<int>(kernel),
                           static_cast<int>(stride),
                           static_cast<int>(padding),
                           offsets.size(0)};
    const int groups = given_gates.numbers ? given_gates.size(3) : 0;
    const bool by_winograd = shape.images >= winograd_from;
    sge::require(shape.outputs % sge::kPanel == 0 && groups % sge::kPanel == 0,
                 "channels or groups are no whole panels");
    sge::require(!by_winograd || (!groups && shape.channels % sge::kLine == 0),
                 "Winograd's method has no gates, and channels by the cache line");
    const float* panels = sge::packed(by_winograd ? winograd : weights);
    const sge::Tensor to = sge::allocate(shape.images, shape.out_height(), shape.out_width(),
                                         shape.outputs, result);
    const sge::Output output{to.numbers,          shape.outputs, offsets.numbers, added.numbers,
                             given_gates.numbers, groups,        relu != 0};
    const auto convolve = by_winograd ? sge::convolve_by_winograd : sge::convolve_directly;
    convolve(shape, from.numbers, panels, output);
  });
}

SGE_EXPORT AOTITorchError aoti_torch_cpu_compare(AtenTensorHandle maps, AtenTensorHandle weights,
                                      AtenTensorHandle bias, int64_t groups,
                                      AtenTensorHandle* result) {
  return sge::guarded("compare", [&] {
    const sge::Tensor from(maps), offsets(bias);
    const sge::Shape shape{from.size(0), from.size(1), from.size(2),   from.size(3),
                           1,            1,            0,              offsets.size(0)};
    sge::require(groups > 0 && groups % sge::kPanel == 0 && shape.outputs % groups == 0 &&
                     shape.channels % sge::kLine == 0,
                 "groups are no whole panels, or channels no whole lines of the cache");
    const float* panels = sge::packed(weights);
    const sge::Tensor to =
        sge::allocate(shape.images, shape.height, shape.width, groups, result);
    sge::compare(shape, from.numbers, panels, offsets.numbers, static_cast<int>(groups),
                 to.numbers);
  });
}
}
