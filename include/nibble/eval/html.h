#pragma once

#include <string>
#include <string_view>
#include <vector>

/// Reports as pages that load nothing from anywhere.
namespace nibble::eval::html {

/// `text` with &, < and > as entities.
std::string escape(std::string_view text);
/// A number with `digits` digits behind the point.
std::string fixed(double value, int digits);

/// A whole page; `body` is HTML.
std::string page(std::string_view title, std::string_view body);

/// A table of texts: the first row and the first cell of each row are headings.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace nibble::eval::html
