//! The keeper against a disk that works, one that fails and one that is full.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;

use super::super::disk::MOST_AT_ONCE;
use super::super::pen::{BundleFiles, Sink as _};
use super::super::tree::{Growth, leaf};
use super::*;

/// The disk of this machine, which notes each step and fails from one on.
#[derive(Clone)]
struct Watched(Arc<Mutex<Watch>>);

struct Watch {
    root: PathBuf,
    seen: Vec<String>,
    /// Steps that still work.
    works: usize,
    /// Files that it still has room for.
    room: usize,
    /// Files that are open.
    open: usize,
    /// Most of them.
    descriptors: usize,
}

impl Watched {
    fn at(root: &Path) -> Self {
        let (works, room, descriptors) = (usize::MAX, usize::MAX, usize::MAX);
        Self(Arc::new(Mutex::new(Watch { root: root.to_owned(), seen: Vec::new(), works, room, open: 0, descriptors })))
    }

    fn step(&self, step: &str, path: &Path) -> io::Result<()> {
        let mut watch = self.0.lock();
        if watch.works == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        watch.works -= 1;
        let name = path.strip_prefix(&watch.root).unwrap().display().to_string();
        watch.seen.push(format!("{step} {name}"));
        Ok(())
    }

    /// Those that are open are closed once the disk has the first of them.
    fn one_more(&self) -> io::Result<()> {
        let mut watch = self.0.lock();
        watch.open += 1;
        if watch.open > watch.descriptors { Err(io::Error::other("too many open files")) } else { Ok(()) }
    }

    fn steps(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().seen)
    }
}

fn path_of(file: &File) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl Disk for Watched {
    fn open(&self, path: &Path) -> io::Result<File> {
        self.one_more()?;
        self.step("open", path)?;
        Local.open(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        self.one_more()?;
        self.step("write", path)?;
        if self.0.lock().room == 0 {
            // As much as there is room for.
            Local.write(path, &bytes[..bytes.len() / 2])?;
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.lock().room -= 1;
        Local.write(path, bytes)
    }

    fn start(&self, file: &File) {
        if self.step("start", &path_of(file)).is_ok() {
            Local.start(file);
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.0.lock().open = 0;
        self.step("sync", &path_of(file))?;
        Local.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(&format!("rename {} to", from.file_name().unwrap().display()), to)?;
        Local.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step("names", folder)?;
        Local.sync_folder(folder)
    }
}

/// An epoch with its keeper.
struct World {
    state: tempfile::TempDir,
    disk: Watched,
    keeper: Keeper,
    growth: Growth,
    tiles: Vec<Tile>,
}

impl World {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        // What is asked of `/proc` has no links in it.
        let root = state.path().canonicalize().unwrap();
        let (epoch, scratch) = (root.join("log"), root.join("scratch"));
        fs::create_dir_all(&epoch).unwrap();
        fs::create_dir_all(&scratch).unwrap();
        let place = Place { epoch: &epoch, scratch: scratch.join("s"), log: "gw-1/1".to_owned(), synced: false };
        let key = SigningKey::new("gw-1", &[1; 32]).unwrap();
        let disk = Watched::at(&root);
        let mut keeper = Keeper::new(place, key, None);
        keeper.disk = Box::new(disk.clone());
        Self { state, disk, keeper, growth: Growth::default(), tiles: Vec::new() }
    }

    /// Writes as many entries, of which the keeper reads nothing.
    fn grow(&mut self, entries: u64) {
        let mut files = BundleFiles::new(&self.keeper.epoch, false);
        for number in self.growth.size()..self.growth.size() + entries {
            if number.is_multiple_of(TILE) {
                files.begin(number / TILE).unwrap();
                files.write(b"entries").unwrap();
            }
            self.growth.push(leaf(&number.to_be_bytes()));
        }
    }

    fn checkpoint(&mut self) -> io::Result<()> {
        let Self { keeper, growth, tiles, .. } = self;
        keeper.checkpoint(|| {
            let full = growth.take_full();
            tiles.extend(full.iter().cloned());
            Stand { size: growth.size(), root: growth.root(), full }
        })
    }

    /// The tiles that are in their places, every one of them whole.
    fn placed(&self) -> usize {
        let placed = |tile: &&Tile| {
            let found = fs::read(tile_path(&self.keeper.epoch, tile.level, tile.index));
            found.is_ok_and(|bytes| bytes == tile.bytes() || panic!("half a tile is in the place of one"))
        };
        self.tiles.iter().filter(placed).count()
    }

    fn scratch(&self) -> usize {
        fs::read_dir(self.state.path().join("scratch")).unwrap().count()
    }
}

#[test]
fn each_step_of_a_checkpoint_waits_for_those_that_it_rests_on_and_for_no_other() {
    let mut world = World::new();
    world.grow(600);

    world.checkpoint().unwrap();
    let first = world.disk.steps();
    world.grow(100);
    world.checkpoint().unwrap();
    let same_bundle = world.disk.steps();

    assert_eq!(
        first,
        [
            // The last bundle grows, so it must not be forgotten.
            "open log/tile/entries/000",
            "start log/tile/entries/000",
            "open log/tile/entries/001",
            "start log/tile/entries/001",
            "open log/tile/entries/002",
            "sync log/tile/entries/000",
            "sync log/tile/entries/001",
            "sync log/tile/entries/002",
            "write scratch/s.0",
            "start scratch/s.0",
            "write scratch/s.1",
            "start scratch/s.1",
            "sync scratch/s.0",
            "sync scratch/s.1",
            "rename s.0 to log/tile/0/000",
            "rename s.1 to log/tile/0/001",
            "names log",
            "names log/tile",
            "names log/tile/0",
            "names log/tile/entries",
            "write scratch/s",
            "sync scratch/s",
            "rename s to log/checkpoint",
            "names log",
        ]
    );
    let checkpoint = &first[first.len() - 4..];
    assert_eq!(same_bundle[..2], ["open log/tile/entries/002", "sync log/tile/entries/002"]);
    assert_eq!(same_bundle[2..], *checkpoint, "its name is on the disk");
}

#[test]
fn the_name_of_a_bundle_is_on_the_disk_before_it_is_signed_wherever_the_checkpoint_before_ended() {
    for (before, bundle) in [(255, false), (256, true), (257, false)] {
        let mut world = World::new();
        world.grow(before);
        world.checkpoint().unwrap();
        world.disk.steps();

        world.grow(1);
        world.checkpoint().unwrap();

        let steps = world.disk.steps();
        assert_eq!(steps.iter().any(|step| step == "names log/tile/entries"), bundle, "{before}: {steps:?}");
    }
}

#[test]
fn whichever_step_fails_no_tile_is_lost_and_nothing_is_signed_that_the_disk_has_not() {
    let steps = {
        let mut world = World::new();
        world.grow(600);
        world.checkpoint().unwrap();
        world.disk.steps().len()
    };

    for works in 0..steps {
        let mut world = World::new();
        world.grow(600);
        fs::write(world.keeper.scratch.with_added_extension("1"), "x".repeat(10_000)).unwrap();
        world.disk.0.lock().works = works;

        let failed = world.checkpoint();
        let (signed, behind, placed) = (world.keeper.signed(), world.keeper.behind(), world.placed());
        let before = world.disk.steps();
        world.disk.0.lock().works = usize::MAX;
        world.checkpoint().unwrap();
        let after = world.disk.steps();

        // Advice that comes to nothing is no failure; the step behind it is.
        assert!(failed.is_err(), "{works}");
        assert_eq!(signed, 0, "{works}");
        assert_eq!(behind, 2 - placed, "{works}");
        assert_eq!((world.keeper.signed(), world.keeper.behind(), world.placed(), world.scratch()), (600, 0, 2, 0));
        let all = [before, after].concat();
        let last = |step: &str| all.iter().rposition(|seen| seen == step).unwrap_or_else(|| panic!("{works}: {step}"));
        let signing = last("rename s to log/checkpoint");
        for (tile, rename) in all.iter().enumerate().filter(|(_, step)| step.contains("log/tile/0/")) {
            let scratch = rename.split(' ').nth(1).unwrap();
            let of_it = |step: &&String| step.ends_with(&format!("scratch/{scratch}"));
            let latest = all[..tile].iter().rfind(of_it).unwrap();
            assert_eq!(*latest, format!("sync scratch/{scratch}"), "{works}: the disk has it, {all:?}");
            assert!((tile..signing).contains(&last("names log/tile/0")), "{works}: the disk has its name, {all:?}");
        }
        for folder in ["log/tile/entries", "log/tile"] {
            assert!(last(&format!("names {folder}")) < signing, "{works}: {folder}");
        }
    }
}

#[test]
fn a_disk_with_room_for_two_tiles_of_five_takes_two_and_keeps_no_half_of_the_third() {
    let mut world = World::new();
    world.grow(5 * TILE);
    world.disk.0.lock().room = 2;

    let full = world.checkpoint().unwrap_err();
    let (behind, placed, left) = (world.keeper.behind(), world.placed(), world.scratch());
    world.disk.0.lock().room = usize::MAX;
    world.checkpoint().unwrap();

    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!((behind, placed, left), (3, 2, 0), "a full disk has no room for what has no place either");
    assert_eq!((world.keeper.behind(), world.placed(), world.keeper.signed()), (0, 5, 5 * TILE));
}

#[test]
fn a_process_that_is_short_of_descriptors_goes_on_with_fewer_at_once() {
    for descriptors in [1, 2, 3] {
        let mut world = World::new();
        world.grow(5 * TILE);
        world.disk.0.lock().descriptors = descriptors;

        world.checkpoint().unwrap();

        assert_eq!((world.placed(), world.keeper.signed()), (5, 5 * TILE), "{descriptors}");
    }
}

#[test]
fn no_more_files_are_on_their_way_at_once_than_the_bound() {
    for tiles in [MOST_AT_ONCE, MOST_AT_ONCE + 1] {
        let mut world = World::new();
        world.grow(tiles as u64 * TILE);

        world.checkpoint().unwrap();

        let steps = world.disk.steps();
        for begins in ["open log", "write scratch/s."] {
            let mut runs = vec![0];
            for step in &steps {
                if step.starts_with(begins) {
                    *runs.last_mut().unwrap() += 1;
                } else if !step.starts_with("start") && runs.last() != Some(&0) {
                    runs.push(0);
                }
            }
            runs.pop();
            let expected = if tiles > MOST_AT_ONCE { vec![MOST_AT_ONCE, 1] } else { vec![MOST_AT_ONCE] };
            assert_eq!(runs, expected, "{begins}");
        }
        assert_eq!(world.placed(), tiles);
    }
}
