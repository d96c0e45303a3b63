//! The tests of what goes wrong: crashes, conflicts, halves of transactions, a broken network, damaged and restored tables,
//! upgrades.

mod appliers;
mod check;
mod check_feed;
mod crash;
mod drill_support;
mod faults;
mod group_races;
mod kill;
mod races;
mod restore;
mod restore_drill;
mod restore_torn;
mod side_by_side;
mod support;
mod torn;
mod torn_reads;
mod upgrade;
