#include "model/execution/row_checks.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// `before`: the slot's row before this one in the batch, or null.
absl::Status CheckRow(const EvalRow& row, const NetworkInfo& info, const SlotState* slot,
                      const EvalRow* before) {
  if (slot == nullptr || !slot->live) {
    return absl::InvalidArgumentError(absl::StrCat("slot ", row.slot, " is not allocated"));
  }
  if (slot->channels != info.channels || slot->height != info.height || slot->width != info.width) {
    return absl::InvalidArgumentError(
        absl::StrCat("slot ", row.slot, " does not have the network's shape"));
  }
  if (row.class_index < -1 || row.class_index >= info.num_classes) {
    return absl::InvalidArgumentError(
        absl::StrCat("class ", row.class_index, " is not one of ", info.num_classes));
  }
  if (row.plan == nullptr || row.step < 0 || row.step >= row.plan->nfe()) {
    return absl::InvalidArgumentError(absl::StrCat("the plan has no step ", row.step));
  }
  const std::vector<DenoiserTerm>& terms = row.plan->steps[row.step].terms;
  if (row.term < 0 || row.term >= static_cast<int>(terms.size())) {
    return absl::InvalidArgumentError(absl::StrCat("step ", row.step, " has no term ", row.term));
  }
  if (terms[row.term].rho.size() != static_cast<size_t>(info.num_skips)) {
    return absl::InvalidArgumentError(absl::StrCat("rho has ", terms[row.term].rho.size(),
                                                   " values for ", info.num_skips, " skips"));
  }
  const int due = before != nullptr ? before->term + 1 : slot->terms_done;
  if (slot->status.ok() && row.term != due) {
    return absl::InvalidArgumentError(
        absl::StrCat("term ", row.term, " comes when term ", due, " is due"));
  }
  if (before != nullptr && (row.plan != before->plan || row.step != before->step)) {
    return absl::InvalidArgumentError(
        absl::StrCat("slot ", row.slot, " appears with two steps in one batch"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckInitImage(const SlotInit& init, const NetworkInfo& info) {
  if (init.image == nullptr) {
    if (init.plan->initial.image == 0.0) return absl::OkStatus();
    return absl::InvalidArgumentError("the plan starts from an image and there is none");
  }
  const size_t plane = static_cast<size_t>(info.height) * info.width;
  if (init.image->pixels.size() != plane * info.channels) {
    return absl::InvalidArgumentError("the given image does not have the network's shape");
  }
  if (!init.image->mask.empty() && init.image->mask.size() != plane) {
    return absl::InvalidArgumentError("the mask does not have the network's shape");
  }
  return absl::OkStatus();
}

absl::Status CheckBatch(const StepBatch& batch, int max_batch, const NetworkInfo& info,
                        const std::function<const SlotState*(SlotId)>& find_slot) {
  if (batch.rows.empty() || batch.rows.size() > static_cast<size_t>(max_batch)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch has 1 to ", max_batch, " rows, not ", batch.rows.size()));
  }
  std::map<SlotId, const EvalRow*> seen;
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const EvalRow& row = batch.rows[i];
    const EvalRow*& before = seen[row.slot];
    absl::Status status = CheckRow(row, info, find_slot(row.slot), before);
    before = &row;
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("row ", i, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstream
