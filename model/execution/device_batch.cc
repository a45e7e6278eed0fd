#include "model/execution/device_batch.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace skipstream {

void GroupBySlot(std::vector<PlacedRow>& rows) {
  std::map<SlotId, size_t> first;  // row of a slot
  for (const PlacedRow& row : rows) first.try_emplace(row.row->slot, row.index);
  std::stable_sort(rows.begin(), rows.end(), [&](const PlacedRow& a, const PlacedRow& b) {
    return first[a.row->slot] < first[b.row->slot];
  });
}

DeviceBatch MakeDeviceBatch(absl::Span<const PlacedRow> rows, int size, Extent shape,
                            int num_skips) {
  DeviceBatch program;
  program.rows.resize(size);
  program.updates.resize(size);
  program.rho.assign(static_cast<size_t>(size) * num_skips, 1.0f);
  const EvalRow* before = nullptr;
  for (size_t i = 0; i < rows.size(); ++i) {
    const PlacedRow& placed = rows[i];
    const EvalRow& row = *placed.row;
    const SolverStep& step = row.plan->steps[row.step];
    const DenoiserTerm& term = step.terms[row.term];
    const DenoiserCoefficients& c = term.coefficients;
    program.rows[i] = {placed.registers + kEval * shape.elements(),
                       term.weight,
                       c.c_skip,
                       c.c_out,
                       c.c_in,
                       c.c_noise,
                       term.conditional ? row.class_index : -1};
    std::copy(term.rho.begin(), term.rho.end(), program.rho.begin() + i * num_skips);

    if (before == nullptr || before->slot != row.slot) {
      SlotUpdate& update = program.updates[program.num_updates++];
      update.registers = placed.registers;
      update.image = placed.image;
      update.mask = placed.mask;
      update.first_row = static_cast<int32_t>(i);
      update.begins = row.term == 0;
      update.push = step.push;
      for (int r = 0; r < kNumUpdateRows; ++r) {
        // Without a push, what would be pushed goes nowhere and reads nothing.
        if (r == kPushed && !step.push) continue;
        std::copy(step.a[r].begin(), step.a[r].end(), update.a[r]);
      }
    }
    SlotUpdate& update = program.updates[program.num_updates - 1];
    ++update.num_rows;
    if (row.term + 1 == static_cast<int>(step.terms.size())) {
      update.applies = true;
      update.noise = placed.noise;
    }
    before = &row;
  }
  return program;
}

int BucketFor(int rows, int max) {
  int bucket = 1;
  while (bucket < rows) bucket *= 2;
  return std::min(bucket, max);
}

int SmallerBucket(int bucket) {
  int smaller = 0;
  for (int power = 1; power < bucket; power *= 2) smaller = power;
  return smaller;
}

void WrittenRegisters::Reset() {
  written_.fill(false);
  written_[kBase] = written_[kEval] = true;
}

absl::Status WrittenRegisters::Apply(const SolverStep& step) {
  written_[kDenoised] = true;
  written_[kNoise] = step.uses_noise;
  for (int row = 0; row < (step.push ? kNumUpdateRows : kPushed); ++row) {
    for (int reg = 0; reg < kNumRegisters; ++reg) {
      if (step.a[row][reg] != 0.0 && !written_[reg]) {
        return absl::InternalError(
            absl::StrCat("the step reads register ", reg, ", which holds nothing yet"));
      }
    }
  }
  if (step.push) {
    written_[kH3] = written_[kH2];
    written_[kH2] = written_[kH1];
    written_[kH1] = true;
  }
  return absl::OkStatus();
}

}  // namespace skipstream
