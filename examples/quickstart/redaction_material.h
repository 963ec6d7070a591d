#pragma once

#include <string_view>
#include <vector>

namespace quickstart {

/// What one part of the data is made of. {n} name, {p} phone, {d} date, {e} e-mail, {i} IBAN,
/// {o} order number; of (a|b|c) one is drawn.
struct Material {
  std::vector<std::string_view> openings;
  std::vector<std::string_view> fragments;
  std::vector<std::string_view> first_names;
  std::vector<std::string_view> last_names;
  std::vector<std::string_view> mail_hosts;
  int last_digit_parity;  ///< numbers of the parts end in digits of different parity
};

/// The two share no opening, fragment, name or host.
const Material& training_material();
const Material& held_out_material();

}  // namespace quickstart
