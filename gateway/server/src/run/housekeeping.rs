//! What is looked after now and then: the room on the disk, audit records whose time is over, facts and exceptions that
//! run out, and when keys were last used.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::endings::{Announced, Ending, Nearness};
use crate::gateway::Gateway;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often records whose time is over are removed.
const RETIRE_EVERY: Duration = Duration::from_secs(3600);

pub(super) async fn run(gateway: &Gateway) {
    tokio::join!(watch_disk(gateway), retire(gateway), watch_endings(gateway), keep_last_used(gateway));
}

/// How often it is written when keys were last used; a process that is killed loses so much of it.
const KEEP_USED_EVERY: Duration = Duration::from_secs(60);

/// The longest that leaving waits for the same.
const KEPT_IN: Duration = Duration::from_secs(3);

async fn keep_last_used(gateway: &Gateway) {
    let mut tick = interval(KEEP_USED_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tick.tick().await;
        let kept = last_used_is_kept(gateway).await;
        if let Err(error) = &kept
            && !failing
        {
            tracing::warn!(error, "when keys were last used cannot be kept; it is tried again every minute");
        }
        failing = kept.is_err();
    }
}

/// For the last time, when the process leaves.
pub(super) async fn keep_last_used_once_more(gateway: &Gateway) {
    let kept = tokio::time::timeout(KEPT_IN, last_used_is_kept(gateway)).await;
    if let Err(error) = kept.unwrap_or_else(|_| Err("the disk is slow".to_owned())) {
        tracing::warn!(error, "when keys were last used in the last minute is not kept");
    }
}

async fn last_used_is_kept(gateway: &Gateway) -> Result<(), String> {
    let (last_used, used) = (Arc::clone(&gateway.last_used), gateway.snapshot().used());
    // A disk that hangs must not hang the timers beside this one.
    let kept = tokio::task::spawn_blocking(move || last_used.keep(&used)).await;
    kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// How often it is looked at what runs out; a reload shows within this time.
const COUNT_DAYS_EVERY: Duration = Duration::from_secs(60);

async fn watch_endings(gateway: &Gateway) {
    let mut tick = interval(COUNT_DAYS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut announced = Announced::default();
    loop {
        tick.tick().await;
        let (snapshot, now) = (gateway.snapshot(), SystemTime::now());
        let left = snapshot.endings.iter().map(|ending| (ending.what.name(), &*ending.name, ending.days_left(now)));
        gateway.metrics.set_runs_out(left);
        for (ending, near) in announced.news(&snapshot.endings, now) {
            announce(ending, near, now);
        }
    }
}

fn announce(ending: &Ending, near: Nearness, now: SystemTime) {
    let days = ending.days_left(now);
    match near {
        Nearness::Far => {}
        Nearness::Announced | Nearness::Soon => {
            tracing::warn!(days, "ALARM runs_out: {ending} runs out; from then on less is permitted");
        }
        Nearness::VerySoon => {
            tracing::error!(days, "ALARM runs_out: {ending} runs out very soon; from then on less is permitted");
        }
        Nearness::Over => tracing::error!(days, "ALARM runs_out: {ending} has run out, and less is permitted"),
    }
}

async fn watch_disk(gateway: &Gateway) {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Fullness::Fine;
    loop {
        tick.tick().await;
        let folder = gateway.audit.folder().to_owned();
        // A disk that hangs must not hang the timers beside this one.
        let Ok(Some(used)) = tokio::task::spawn_blocking(move || used_percent(&folder)).await else { continue };
        gateway.metrics.set_disk_used(used);
        let now = Fullness::of(used);
        if now > said {
            now.announce(used);
        }
        said = now;
    }
}

/// How full a disk is, as far as somebody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fullness {
    Fine,
    NearlyFull,
    AlmostFull,
}

impl Fullness {
    fn of(percent: u8) -> Self {
        match percent {
            90.. => Self::AlmostFull,
            80.. => Self::NearlyFull,
            _ => Self::Fine,
        }
    }

    fn announce(self, percent: u8) {
        match self {
            Self::Fine => {}
            Self::NearlyFull => {
                tracing::warn!(
                    percent,
                    "ALARM disk_80: the disk of the audit log fills; when it is full every request is refused"
                );
            }
            Self::AlmostFull => {
                tracing::error!(
                    percent,
                    "ALARM disk_90: the disk of the audit log is almost full; then every request is refused"
                );
            }
        }
    }
}

/// How much of the disk below `folder` is used, in percent: of its blocks or of its inodes, whichever is more.
fn used_percent(folder: &Path) -> Option<u8> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let blocks = used_share(disk.f_blocks, disk.f_bfree, disk.f_bavail);
    Some(blocks.max(used_share(disk.f_files, disk.f_ffree, disk.f_favail)))
}

/// Percent of what everybody may have together, as `df` says it: what is kept back for root counts as neither used nor free.
fn used_share(all: u64, free: u64, available: u64) -> u8 {
    let used = all.saturating_sub(free);
    let share = used.saturating_mul(100).div_ceil(used.saturating_add(available).max(1));
    u8::try_from(share).unwrap_or(100).min(100)
}

async fn retire(gateway: &Gateway) {
    let mut tick = interval(RETIRE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(kept) = gateway.snapshot().audit_retention.clone() else { continue };
        retire_captures(gateway).await;
        let audit = gateway.audit.clone();
        // A panic is a fault of ours and is told like any other failure; the next try comes in an hour.
        match tokio::task::spawn_blocking(move || audit.retire(&kept, SystemTime::now())).await {
            Ok(Ok(0)) => {}
            Ok(Ok(entries)) => {
                tracing::info!(entries, "audit entries whose time is over were removed; their hashes are kept");
            }
            Ok(Err(error)) => tracing::error!(%error, "audit entries whose time is over could not be removed"),
            Err(error) => tracing::error!(%error, "audit entries whose time is over could not be removed"),
        }
    }
}

/// Whole days of what was kept of prompts and answers. While nothing may be removed of the audit log, nothing of this is.
async fn retire_captures(gateway: &Gateway) {
    let (snapshot, captures) = (gateway.snapshot(), gateway.captures.clone());
    let retired = tokio::task::spawn_blocking(move || {
        captures.retire(SystemTime::now(), |app| {
            let app = snapshot.apps().find(|known| &*known.name == app)?;
            Some(app.data.capture.as_ref()?.rules.days)
        })
    });
    match retired.await {
        Ok(Ok(0)) => {}
        Ok(Ok(files)) => tracing::info!(files, "captures whose time is over were removed"),
        Ok(Err(error)) => tracing::error!(%error, "captures whose time is over could not be removed"),
        Err(error) => tracing::error!(%error, "captures whose time is over could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_announced_at_eighty_and_at_ninety_percent() {
        assert_eq!(
            [0, 79, 80, 89, 90, 100].map(Fullness::of),
            [
                Fullness::Fine,
                Fullness::Fine,
                Fullness::NearlyFull,
                Fullness::NearlyFull,
                Fullness::AlmostFull,
                Fullness::AlmostFull,
            ]
        );
    }

    #[test]
    fn what_is_kept_back_for_root_is_neither_used_nor_free() {
        // All, free, and free for everybody.
        assert_eq!(used_share(252, 196, 36), 61);
        assert_eq!(used_share(100, 20, 20), 80);
        assert_eq!(used_share(100, 5, 0), 100);
        assert_eq!(used_share(1_000, 899, 100), 51);
        // File systems without inodes say that they have none.
        assert_eq!(used_share(0, 0, 0), 0);
    }

    #[test]
    fn a_disk_that_is_there_is_measured_and_one_that_is_not_is_not() {
        assert!(used_percent(Path::new("/")).is_some_and(|percent| percent <= 100));
        assert_eq!(used_percent(Path::new("/nowhere/at/all")), None);
    }
}
