#include <nibble/core/error.h>
#include <nibble/kernels/cpu_isa.h>

#include <barrier>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "benchmarks/bench_support.h"
#include "benchmarks/kernel_device.h"

namespace nibble::benchmarks {
namespace {

constexpr std::align_val_t kAlignment{64};

/// Threads that stay and wait for work: starting them anew would cost more than a small kernel.
class ThreadTeam {
 public:
  explicit ThreadTeam(int threads) : start_(threads), end_(threads) {
    for (int index = 1; index < threads; ++index) {
      workers_.emplace_back([this, index] { serve(index); });
    }
  }
  ~ThreadTeam() {
    body_ = nullptr;
    start_.arrive_and_wait();
  }
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int64_t size() const { return static_cast<int64_t>(workers_.size()) + 1; }

  /// body(begin, end) on every thread, the ranges together [0, count). `body` must not throw.
  void run(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
    count_ = count;
    body_ = &body;
    start_.arrive_and_wait();
    call(0);
    end_.arrive_and_wait();
  }

 private:
  void serve(int index) {
    while (true) {
      start_.arrive_and_wait();
      if (body_ == nullptr) return;
      call(index);
      end_.arrive_and_wait();
    }
  }
  void call(int64_t index) const {
    const int64_t begin = count_ * index / size(), end = count_ * (index + 1) / size();
    if (begin < end) (*body_)(begin, end);
  }

  std::barrier<> start_, end_;
  int64_t count_ = 0;
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  std::vector<std::jthread> workers_;
};

class CpuDevice : public KernelDevice {
 public:
  explicit CpuDevice(int threads) : team_(threads) {}

  std::string description() const override {
    return detail::concat(cpu_name(), ", ", kernels::name_of(kernels::best_cpu_isa()), ", ",
                          team_.size(), " threads");
  }

  std::shared_ptr<void> allocate(int64_t bytes) override {
    void* data = ::operator new(static_cast<size_t>(bytes), kAlignment);
    std::shared_ptr<void> buffer(data, [](void* p) { ::operator delete(p, kAlignment); });
    // By the threads that will use it: memory lies near the processor that touches it first.
    team_.run(bytes, [&](int64_t begin, int64_t end) {
      std::memset(static_cast<char*>(data) + begin, 0, static_cast<size_t>(end - begin));
    });
    return buffer;
  }
  void upload(void* target, const void* host, int64_t bytes) override {
    std::memcpy(target, host, static_cast<size_t>(bytes));
  }

  void copy(void* target, const void* source, int64_t bytes) override {
    team_.run(bytes, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(target) + begin, static_cast<const char*>(source) + begin,
                  static_cast<size_t>(end - begin));
    });
  }
  void fake_quantize(const kernels::FakeQuantParams& params) override {
    team_.run(params.matrix.rows,
              [&](int64_t begin, int64_t end) { kernels::fake_quantize_cpu(params, begin, end); });
  }
  void fake_quantize_backward(const kernels::FakeQuantBackwardParams& params) override {
    team_.run(params.matrix.rows, [&](int64_t begin, int64_t end) {
      kernels::fake_quantize_backward_cpu(params, begin, end);
    });
  }

  double milliseconds(const std::function<void()>& work) override {
    return wall_milliseconds(work);
  }

 private:
  ThreadTeam team_;
};

}  // namespace

std::unique_ptr<KernelDevice> cpu_device(int threads) {
  NIBBLE_CHECK(threads > 0, "threads must be 1 or more, got ", threads);
  return std::make_unique<CpuDevice>(threads);
}

}  // namespace nibble::benchmarks
