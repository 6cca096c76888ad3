// Named arrays in host memory: the inputs and outputs of graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace tacoglow {

enum class DType { float32, int32, boolean };

inline std::size_t element_bytes(DType dtype) { return dtype == DType::boolean ? 1 : 4; }

using Shape = std::vector<std::int64_t>;

inline std::size_t element_count(const Shape& shape) {
  return static_cast<std::size_t>(
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<std::int64_t>()));
}

inline std::string to_string(const Shape& shape) {
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// A contiguous array in row-major order, initially zero.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape)
      : dtype_(dtype), shape_(std::move(shape)), bytes_(element_count(shape_) * element_bytes(dtype)) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::size_t size_bytes() const { return bytes_.size(); }
  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  // T must match the dtype: float, std::int32_t, or unsigned char for booleans.
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(bytes_.data());
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(bytes_.data());
  }

 private:
  DType dtype_ = DType::float32;
  Shape shape_;
  std::vector<unsigned char> bytes_;
};

using Tensors = std::map<std::string, Tensor>;
using TensorRefs = std::map<std::string, Tensor*>;
using ConstTensorRefs = std::map<std::string, const Tensor*>;

}  // namespace tacoglow
