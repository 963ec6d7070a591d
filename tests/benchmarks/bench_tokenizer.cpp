#include <nibble/core/error.h>
#include <nibble/text/tokenizer.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>
#include <zlib.h>

#include "benchmarks/bench_support.h"
#include "benchmarks/text_documents.h"
#include "run_main.h"
#include "unit/text/compressed_file.h"

// Times the tokenizer on whole files of text, document by document, without LibTorch. A time is CPU
// time, which other processes disturb less, but for batches on several threads and on one.
namespace nibble::benchmarks {
namespace {

namespace fs = std::filesystem;
using Documents = std::vector<std::string>;
using Ids = std::vector<int64_t>;

struct Arguments {
  std::vector<fs::path> tokenizers, texts;
  std::string json;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int samples = 7;
  int warmup = 1;
  size_t document_bytes = 16384;
};

text::Tokenizer load(const fs::path& folder) {
  const fs::path plain = folder / "tokenizer.json";
  const fs::path path = fs::exists(plain) ? plain : folder / "tokenizer.json.gz";
  return text::Tokenizer::from_json(text::read_maybe_compressed(path), path.string());
}

/// Tells two tokenizations apart: CRC-32 of the ids as little-endian 64-bit integers.
uint32_t crc_of(const std::vector<Ids>& ids) {
  uLong crc = crc32(0, nullptr, 0);
  for (const Ids& document : ids) {
    crc = crc32(crc, reinterpret_cast<const Bytef*>(document.data()),
                static_cast<uInt>(document.size() * sizeof(int64_t)));
  }
  return static_cast<uint32_t>(crc);
}

/// CPU time of the process, in milliseconds. std::clock counts microseconds: a short text's are 0.
double cpu_clock() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

double cpu_milliseconds(const std::function<void()>& work) {
  const double start = cpu_clock();
  work();
  return cpu_clock() - start;
}

struct Work {
  std::string name;
  std::function<void()> run;
  int threads = 1;
  bool by_wall_clock = false;  ///< else CPU time
};

class Bench {
 public:
  explicit Bench(const Arguments& arguments) : arguments_(arguments) {}

  void run(const text::Tokenizer& tokenizer, const std::string& name, const fs::path& path) {
    const Documents documents = read_documents(path, arguments_.document_bytes);
    std::vector<Ids> ids;
    size_t bytes = 0;
    size_t tokens = 0;
    for (const std::string& document : documents) {
      ids.push_back(tokenizer.encode_ids(document, /*add_special_tokens=*/true));
      bytes += document.size();
      tokens += ids.back().size();
    }
    std::vector<Work> works = {{"encode",
                                [&] {
                                  for (const std::string& document : documents)
                                    tokenizer.encode(document, true);
                                }},
                               {"encode ids",
                                [&] {
                                  for (const std::string& document : documents)
                                    tokenizer.encode_ids(document, true);
                                }},
                               {"decode", [&] {
                                  for (const Ids& document : ids)
                                    tokenizer.decode(document, /*skip_special_tokens=*/true);
                                }}};
    for (const int threads : std::set{1, arguments_.threads}) {
      works.push_back({detail::concat("encode batch, threads ", threads),
                       [&, threads] { tokenizer.encode_batch(documents, true, threads); }, threads,
                       /*by_wall_clock=*/true});
    }
    std::vector<std::function<double()>> contenders;
    for (const Work& work : works) {
      contenders.push_back([&work] {
        return work.by_wall_clock ? wall_milliseconds(work.run) : cpu_milliseconds(work.run);
      });
    }
    const auto samples = interleave(contenders, arguments_.warmup, arguments_.samples);
    for (size_t i = 0; i < works.size(); ++i) {
      Row row;
      row.name = detail::concat(works[i].name, " ", name);
      row.shape = path.stem().string();
      row.dtype = "utf-8";
      row.median_ms = median(samples[i]);
      row.samples = arguments_.samples;
      row.details = {{"documents", documents.size()},
                     {"bytes", bytes},
                     {"tokens", tokens},
                     {"ids_crc32", crc_of(ids)},
                     {"megabytes_per_second", static_cast<double>(bytes) / row.median_ms * 1e-3},
                     {"threads", works[i].threads}};
      add(std::move(row));
    }
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  void add(Row row) {
    std::printf("%-36s %-24s %9zu tokens %10.3f ms %8.2f MB/s\n", row.name.c_str(),
                row.shape.c_str(), row.details["tokens"].get<size_t>(), row.median_ms,
                row.details["megabytes_per_second"].get<double>());
    std::fflush(stdout);
    rows_.push_back(std::move(row));
  }

  const Arguments& arguments_;
  std::vector<Row> rows_;
};

int bench_tokenizer(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Times encoding and decoding of text."};
  app.add_option("--tokenizer", arguments.tokenizers,
                 "folder of a tokenizer.json or tokenizer.json.gz, may be repeated")
      ->required();
  app.add_option("--text", arguments.texts,
                 "file, may be repeated; of a .jsonl each line's strings")
      ->required();
  app.add_option("--json", arguments.json, "report")->required();
  app.add_option("--threads", arguments.threads, "of the parallel encoding, default: the cores")
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", arguments.samples, "medians are over so many")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", arguments.warmup, "samples before them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--document-bytes", arguments.document_bytes,
                 "plain text is cut into documents of whole lines at least so long")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  Bench bench(arguments);
  for (const fs::path& folder : arguments.tokenizers) {
    const text::Tokenizer tokenizer = load(folder);
    for (const fs::path& path : arguments.texts) {
      bench.run(tokenizer, folder.filename().string(), path);
    }
  }
  write_report(arguments.json, "bench_tokenizer",
               {{"machine", cpu_name()}, {"threads", arguments.threads}}, bench.rows());
  return 0;
}

}  // namespace
}  // namespace nibble::benchmarks

int main(int argc, char** argv) {
  return nibble::apps::run_main(nibble::benchmarks::bench_tokenizer, argc, argv);
}
