#include <nibble/core/error.h>
#include <nibble/data/batch.h>

#include <algorithm>

namespace nibble::data {
namespace {

void append(std::vector<int64_t>& out, const std::vector<int64_t>& values, int64_t length,
            int64_t padding) {
  out.insert(out.end(), values.begin(), values.end());
  out.resize(out.size() + static_cast<size_t>(length) - values.size(), padding);
}

void append_sequence(Row& pack, const Row& row) {
  const int64_t segment = pack.segments.empty() ? 1 : pack.segments.back() + 1;
  pack.ids.insert(pack.ids.end(), row.ids.begin(), row.ids.end());
  pack.labels.insert(pack.labels.end(), row.labels.begin(), row.labels.end());
  pack.segments.resize(pack.ids.size(), segment);
}

}  // namespace

Batch collate(std::span<const Row* const> rows, int64_t pad_id, int64_t length_multiple) {
  NIBBLE_CHECK(!rows.empty(), "a batch needs at least one row");
  NIBBLE_CHECK(length_multiple > 0, "length_multiple is ", length_multiple,
               "; allowed: 1 and more");
  Batch batch;
  batch.rows = static_cast<int64_t>(rows.size());
  const bool packed = !rows.front()->segments.empty();
  for (const Row* row : rows) {
    NIBBLE_CHECK(row->segments.empty() != packed, "packed and unpacked rows in one batch");
    batch.lengths.push_back(static_cast<int64_t>(row->ids.size()));
  }
  const int64_t longest = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  batch.length = (longest + length_multiple - 1) / length_multiple * length_multiple;
  for (const Row* row : rows) {
    append(batch.ids, row->ids, batch.length, pad_id);
    append(batch.labels, row->labels, batch.length, kIgnoreIndex);
    if (packed) append(batch.segments, row->segments, batch.length, 0);
    batch.target_count += row->target_count();
  }
  return batch;
}

std::vector<Row> pack_rows(std::span<const Row> rows, int64_t size) {
  std::vector<Row> packs;
  for (const Row& row : rows) {
    const int64_t length = static_cast<int64_t>(row.ids.size());
    NIBBLE_CHECK(length <= size, "a row of ", length, " tokens does not fit a pack of ", size);
    const int64_t used = packs.empty() ? 0 : static_cast<int64_t>(packs.back().ids.size());
    if (packs.empty() || used + length > size) packs.emplace_back();
    append_sequence(packs.back(), row);
  }
  return packs;
}

}  // namespace nibble::data
