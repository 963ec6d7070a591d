#include <nibble/core/error.h>
#include <nibble/data/loader.h>
#include <nibble/data/random.h>

#include <algorithm>
#include <utility>

namespace nibble::data {

Loader::Loader(size_t row_count, const LoaderOptions& options)
    : row_count_(row_count), options_(options) {
  NIBBLE_CHECK(options.batch_size > 0, "batch size ", options.batch_size, "; allowed: 1 and more");
  NIBBLE_CHECK(row_count > 0, "a loader needs at least one row");
  NIBBLE_CHECK(epoch_end() > 0, "drop_last leaves no batch: ", row_count, " rows, batch size ",
               options.batch_size);
  start_epoch(0);
}

int64_t Loader::batches_per_epoch() const {
  const size_t size = static_cast<size_t>(options_.batch_size);
  return static_cast<int64_t>((epoch_end() + size - 1) / size);
}

size_t Loader::epoch_end() const {
  const size_t tail = row_count_ % static_cast<size_t>(options_.batch_size);
  return options_.drop_last ? row_count_ - tail : row_count_;
}

void Loader::start_epoch(int64_t epoch) {
  epoch_ = epoch;
  position_ = 0;
  if (options_.shuffle) {
    order_ = permutation(row_count_, options_.seed, static_cast<uint64_t>(epoch));
  }
}

std::vector<size_t> Loader::next() {
  const size_t end = std::min(epoch_end(), position_ + static_cast<size_t>(options_.batch_size));
  std::vector<size_t> batch;
  batch.reserve(end - position_);
  for (; position_ < end; ++position_) {
    batch.push_back(options_.shuffle ? order_[position_] : position_);
  }
  if (position_ == epoch_end()) start_epoch(epoch_ + 1);
  return batch;
}

nlohmann::json Loader::state() const {
  return {{"epoch", epoch_},
          {"position", position_},
          {"rows", row_count_},
          {"batch_size", options_.batch_size},
          {"shuffle", options_.shuffle},
          {"seed", options_.seed},
          {"drop_last", options_.drop_last}};
}

void Loader::restore(const nlohmann::json& state) {
  NIBBLE_CHECK(state.is_object(), "the data loader's state is a JSON object, found ",
               state.type_name());
  const nlohmann::json current = this->state();
  for (const auto& [name, mine] : current.items()) {
    NIBBLE_CHECK(state.contains(name), "the data loader's state has no \"", name, "\"");
    const bool moves = name == "epoch" || name == "position";
    NIBBLE_CHECK(moves || state[name] == mine, "cannot resume the data exactly: ", name, " was ",
                 state[name].dump(), " and is now ", mine.dump());
    const bool counts = state[name].is_number_integer() && state[name].get<int64_t>() >= 0;
    NIBBLE_CHECK(!moves || counts, "the data loader's state has ", name, " ", state[name].dump());
  }
  const size_t position = state["position"].get<size_t>();
  NIBBLE_CHECK(position < epoch_end() && position % static_cast<size_t>(options_.batch_size) == 0,
               "the data loader's state has position ", position, " of ", epoch_end(), " rows");
  start_epoch(state["epoch"].get<int64_t>());
  position_ = position;
}

}  // namespace nibble::data
