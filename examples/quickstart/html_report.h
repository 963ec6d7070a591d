#pragma once

#include <nlohmann/json.hpp>

#include <string>

#include "pipeline.h"

namespace quickstart {

/// Curves, tables and answers on one page that loads nothing from anywhere.
std::string to_html(const Outcome& outcome);
nlohmann::ordered_json to_json(const Outcome& outcome);

}  // namespace quickstart
