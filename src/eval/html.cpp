#include <nibble/eval/html.h>

#include <iomanip>
#include <sstream>

namespace nibble::eval::html {
namespace {

constexpr std::string_view kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;"
    "padding:.3em .6em;text-align:left;vertical-align:top}svg{width:100%;max-width:760px}"
    "svg text{font-size:11px}.right{background:#eaf6ea}.wrong{background:#fbeaea}";

}  // namespace

std::string escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else {
      result += c;
    }
  }
  return result;
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string page(std::string_view title, std::string_view body) {
  std::ostringstream html;
  html << "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>" << escape(title)
       << "</title><style>" << kStyle << "</style>" << body << "</html>\n";
  return html.str();
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::ostringstream html;
  html << "<table>";
  for (size_t row = 0; row < rows.size(); ++row) {
    html << "<tr>";
    for (size_t cell = 0; cell < rows[row].size(); ++cell) {
      const char* const tag = row == 0 || cell == 0 ? "th" : "td";
      html << "<" << tag << ">" << escape(rows[row][cell]) << "</" << tag << ">";
    }
    html << "</tr>";
  }
  html << "</table>";
  return html.str();
}

}  // namespace nibble::eval::html
