#include <nibble/core/error.h>
#include <nibble/data/loader.h>
#include <nibble/data/random.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace nibble::data {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

TEST(Loader, GivesRowsInOrderEpochAfterEpoch) {
  Loader loader(5, {.batch_size = 2});
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  EXPECT_THAT(loader.next(), ElementsAre(0, 1));
  EXPECT_THAT(loader.next(), ElementsAre(2, 3));
  EXPECT_EQ(loader.position(), 4u);
  EXPECT_THAT(loader.next(), ElementsAre(4));
  EXPECT_EQ(loader.epoch(), 1);
  EXPECT_EQ(loader.position(), 0u);
  EXPECT_THAT(loader.next(), ElementsAre(0, 1));
}

TEST(Loader, DropLastKeepsFullBatchesOnly) {
  Loader loader(5, {.batch_size = 2, .drop_last = true});
  EXPECT_EQ(loader.batches_per_epoch(), 2);
  loader.next();
  loader.next();
  EXPECT_EQ(loader.epoch(), 1);
  EXPECT_THROW(Loader(1, {.batch_size = 2, .drop_last = true}), Error);
}

TEST(Loader, ShuffleVisitsEveryRowOnceAnEpoch) {
  Loader loader(100, {.batch_size = 7, .shuffle = true, .seed = 3});
  std::vector<std::vector<size_t>> epochs(2);
  for (std::vector<size_t>& epoch : epochs) {
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
      const std::vector<size_t> batch = loader.next();
      epoch.insert(epoch.end(), batch.begin(), batch.end());
    }
  }
  EXPECT_EQ(epochs[0], permutation(100, 3, 0));
  EXPECT_EQ(epochs[1], permutation(100, 3, 1));
}

TEST(Loader, ResumesAtEveryPosition) {
  const LoaderOptions options{.batch_size = 3, .shuffle = true, .seed = 11};
  std::vector<std::vector<size_t>> batches;
  std::vector<std::string> states;
  Loader whole(10, options);
  for (int i = 0; i < 12; ++i) {
    states.push_back(whole.state().dump());
    batches.push_back(whole.next());
  }
  for (size_t stop = 0; stop < states.size(); ++stop) {
    Loader resumed(10, options);
    resumed.restore(json::parse(states[stop]));
    for (size_t i = stop; i < batches.size(); ++i) {
      ASSERT_EQ(resumed.next(), batches[i]) << "stopped at " << stop << ", batch " << i;
    }
  }
}

TEST(Loader, RestoresFromAStateThatWasNeverText) {
  Loader first(10, {.batch_size = 3});
  first.next();
  Loader second(10, {.batch_size = 3});
  second.restore(first.state());
  EXPECT_EQ(second.next(), first.next());
}

TEST(Loader, RefusesTheStateOfAnotherRun) {
  const LoaderOptions options{.batch_size = 2, .shuffle = true, .seed = 1};
  const json good = Loader(10, options).state();
  const auto restore = [&](const char* name, const json& value) {
    Loader loader(10, options);
    json state = good;
    state[name] = value;
    loader.restore(state);
  };
  EXPECT_NO_THROW(restore("epoch", 4));
  EXPECT_THROW(restore("rows", 11), Error);
  EXPECT_THROW(restore("batch_size", 5), Error);
  EXPECT_THROW(restore("shuffle", false), Error);
  EXPECT_THROW(restore("seed", 2), Error);
  EXPECT_THROW(restore("drop_last", true), Error);
  EXPECT_THROW(restore("epoch", -1), Error);
  EXPECT_THROW(restore("epoch", "1"), Error);
  EXPECT_THROW(restore("position", 10), Error);
  EXPECT_THROW(restore("position", 3), Error);
  EXPECT_THROW(Loader(10, options).restore(json::array()), Error);
  EXPECT_THROW(Loader(10, options).restore({{"epoch", 1}}), Error);
}

TEST(Loader, RefusesNoRowsAndNoBatch) {
  EXPECT_THROW(Loader(0, {}), Error);
  EXPECT_THROW(Loader(3, {.batch_size = 0}), Error);
}

}  // namespace
}  // namespace nibble::data
