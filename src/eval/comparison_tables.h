#pragma once

#include <nibble/eval/comparison.h>

#include <string>
#include <vector>

namespace nibble::eval {

/// A table of texts; the first row and the first cell of each row are headings.
using TextTable = std::vector<std::vector<std::string>>;

/// What must agree, a row each, a column a model, and whether it does.
TextTable origin_table(const Comparison& comparison);
/// What was measured, a row each, a column a model.
TextTable measurement_table(const Comparison& comparison);

}  // namespace nibble::eval
