#include <nibble/eval/comparison.h>

#include <algorithm>

namespace nibble::eval {

bool OriginCheck::differs() const {
  const std::string* first = nullptr;
  for (const std::string& value : values) {
    if (value.empty()) continue;
    if (first && *first != value) return true;
    first = &value;
  }
  return false;
}

bool OriginCheck::is_recorded_everywhere() const {
  return std::none_of(values.begin(), values.end(),
                      [](const auto& value) { return value.empty(); });
}

std::vector<OriginCheck> check_origins(const std::vector<ComparedModel>& models) {
  std::vector<OriginCheck> checks;
  const auto add = [&](const char* what, std::string ModelOrigin::*member) {
    OriginCheck check{what, {}};
    for (const ComparedModel& model : models) check.values.push_back(model.origin.*member);
    checks.push_back(std::move(check));
  };
  add("base", &ModelOrigin::base);
  add("data hash", &ModelOrigin::data_hash);
  add("steps", &ModelOrigin::steps);
  add("dtype", &ModelOrigin::dtype);
  return checks;
}

}  // namespace nibble::eval
