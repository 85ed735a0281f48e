// A scenario put on stage: its machines, made once and started anew for each seed.
#pragma once

#include "calls.hpp"

namespace sim {

/// What a run came to.
struct verdict {
  std::string failure;  // empty: it passed
  std::vector<fault> faults;
  u64 hash = 0;
};

class stage final : public setup, public outcome {
 public:
  /// @param path    the shared object of a scenario or a program
  /// @param folder  where copies of it are made
  stage(std::string path, std::string folder) : path_(std::move(path)), folder_(std::move(folder)), director_(path_, copy_name()) {
    exo::host_table = &table;
    write_scenario_ = director_.find<void(setup &)>("scenario");
    check_ = director_.find<void(outcome &)>("check");
  }

  [[nodiscard]] bool is_scenario() const { return write_scenario_ != nullptr; }
  /// For a program that is no scenario: the one machine.
  void use(machine const &only, bool with_nic) {
    alone_ = only;
    has_nic_ = with_nic;
  }

  verdict run(u64 seed, std::vector<fault> const *only = nullptr) {
    machines_.clear();
    wires_.clear();
    machines_.reserve(machines_most);  // connect() is given references to them
    limit = 60s;
    now.start(seed, only, 0);
    write();
    u64 const until = static_cast<u64>(limit.count());
    now.start(seed, only, until);
    make_computers();
    now.run([this] {
      return std::ranges::all_of(computers(), [](auto const &each) { return each->ended || each->how().serves; });
    });
    for (auto const &each : computers()) {
      if (is_scenario() && each->ended && each->status != 0) {
        now.fail(std::string(each->how().name) + " ended with status " + std::to_string(each->status));
      }
    }
    if (now.failure.empty() && check_ != nullptr) check_(*this);
    return {now.failure, now.chances.happened, now.hash()};
  }

  [[nodiscard]] std::span<std::unique_ptr<computer>> computers() { return {computers_.data(), machines_.size()}; }

  [[nodiscard]] std::string_view output(unsigned machine) const override { return computers_.at(machine)->output; }
  [[nodiscard]] std::span<std::byte const> content(unsigned machine, unsigned disk) const override {
    return computers_.at(machine)->disks.at(disk).content;
  }
  void fail(char const *why) override { now.fail(why); }

  void connect(machine &one, machine &other, link const &how) override {
    if (wires_.size() == links_most || one.nics == nics_most || other.nics == nics_most) {
      refuse("the scenario has more than %u links, or %u NICs in a machine.", links_most, nics_most);
    }
    auto const number_of = [this](machine const &each) { return static_cast<u32>(&each - machines_.data()); };
    wires_.push_back({how, {number_of(one), number_of(other)}});
    ++one.nics;
    ++other.nics;
  }
  u64 choose(u64 below) override { return now.chances.number(kind::choice, 0, below); }

 private:
  struct cable {
    link how;
    u32 ends[2];
  };

  machine &add(char const *name, void const *run) override {
    if (machines_.size() == machines_most) refuse("the scenario has more than %u machines.", machines_most);
    machine &made = machines_.emplace_back();
    made.name = name;
    made.main = run;
    return made;
  }

  void write() {
    if (is_scenario()) return write_scenario_(*this);
    machines_.push_back(alone_);
    machines_[0].main = director_.find<void>("main");
    limit = 3600s;
  }

  /// Of this process alone: another one may have it loaded.
  std::string copy_name() { return folder_ + '/' + std::to_string(getpid()) + '-' + std::to_string(copies_++) + ".so"; }

  void make_computers() {
    if (machines_.empty()) refuse("the scenario has no machine.");
    for (u32 number = 0; number < machines_.size(); ++number) {
      machine &how = machines_[number];
      if (how.cores == 0 || how.cores > cores_most || how.disk_count > disks_most || how.main == nullptr) {
        refuse("%s has %u cores and %u disks; 1 to %u and up to %u can be simulated, and it needs a main.", how.name, how.cores,
               how.disk_count, cores_most, disks_most);
      }
      if (number == images_.size()) images_.push_back(std::make_unique<image>(path_, copy_name()));
      if (number == computers_.size()) computers_.emplace_back();
      how.main = director_.in(*images_[number], how.main);
      auto &place = computers_[number];
      if (place != nullptr && place->fits(how)) {
        place->reset(how);
      } else {
        place.reset();
        place = std::make_unique<computer>(how, number, *images_[number], table);
        place->reset(how);
      }
      place->nics.clear();
    }
    lines_.clear();
    lines_.resize(wires_.size() + 1);
    for (u32 number = 0; number < wires_.size(); ++number) {
      lines_[number].how = wires_[number].how;
      lines_[number].number = number;
      for (u32 end = 0; end < 2; ++end) computers_[wires_[number].ends[end]]->add_nic(lines_[number], end);
    }
    if (!is_scenario() && has_nic_) computers_[0]->add_nic(lines_.back(), 0);
    for (auto const &each : computers()) each->power_on();
  }

  std::string path_, folder_;
  u32 copies_ = 0;
  image director_;
  void (*write_scenario_)(setup &) = nullptr;
  void (*check_)(outcome &) = nullptr;
  machine alone_;
  bool has_nic_ = false;
  std::vector<machine> machines_;
  std::vector<cable> wires_;
  std::vector<wire> lines_;
  std::vector<std::unique_ptr<image>> images_;
  std::vector<std::unique_ptr<computer>> computers_;
};

}  // namespace sim
