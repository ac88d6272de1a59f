//! The Merkle tree over the entries of one epoch: hashes of RFC 6962, kept as the tiles of C2SP tlog-tiles.
//!
//! A tile of level L holds 256 hashes, each the root of a whole subtree of 256^L entries. So a tree grows by appending
//! to one list a level, and its root is folded from what no full tile holds yet.

use aws_lc_rs::digest;

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// Hashes in a full tile, and entries in a full bundle.
pub(super) const TILE: u64 = 256;

/// Hash of an entry, RFC 6962 section 2.1: a leaf never hashes like a node.
pub(super) fn leaf(entry: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The same of an entry behind one byte of room, which is overwritten: hashed in one piece, as [`node`] says.
pub(super) fn leaf_in_place(room_and_entry: &mut [u8]) -> Hash {
    if let Some(room) = room_and_entry.first_mut() {
        *room = 0;
    }
    sha256(room_and_entry)
}

/// Hash of two subtrees.
pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    // In one piece, because what hashes in pieces has to be made first, and each piece costs more than its hash.
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

/// Plain SHA-256, for bytes that are no entries.
pub(super) fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Folds whole subtrees, largest first, into the root over all of them.
#[derive(Debug, Default)]
struct Fold {
    size: u64,
    peaks: Vec<Hash>,
}

impl Fold {
    /// Adds a whole subtree of 2^`height` entries.
    fn push(&mut self, height: u32, mut hash: Hash) {
        let mut before = self.size >> height;
        while before & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node(&left, &hash);
            before >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1 << height;
    }

    fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// A full tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Its level: 0 holds hashes of entries.
    pub(super) level: u8,
    /// Its place among the tiles of its level.
    pub(super) index: u64,
    /// Its 256 hashes.
    pub(super) hashes: Vec<Hash>,
}

impl Tile {
    /// The tile's file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }
}

/// A tree that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    size: u64,
    /// By level, the hashes that no full tile holds yet; fewer than 256 each.
    levels: Vec<Vec<Hash>>,
    /// Full tiles that nobody took.
    full: Vec<Tile>,
}

impl Growth {
    /// How many entries it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends the hash of an entry.
    pub(super) fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Appends a whole subtree of 256^`level` entries; the size must be a multiple of that.
    pub(super) fn push_subtree(&mut self, level: u8, hash: Hash) {
        self.size += TILE.pow(level.into());
        self.add(level, hash);
    }

    fn add(&mut self, level: u8, hash: Hash) {
        let at = usize::from(level);
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, Vec::new);
        }
        let hashes = &mut self.levels[at];
        hashes.push(hash);
        if hashes.len() as u64 == TILE {
            let hashes = std::mem::take(hashes);
            let mut fold = Fold::default();
            hashes.iter().for_each(|hash| fold.push(0, *hash));
            let index = self.size / TILE.pow(u32::from(level) + 1) - 1;
            self.full.push(Tile { level, index, hashes });
            self.add(level + 1, fold.root());
        }
    }

    /// The root over all entries; that of no entry is the hash of nothing.
    pub(super) fn root(&self) -> Hash {
        let mut fold = Fold::default();
        for (level, hashes) in self.levels.iter().enumerate().rev() {
            hashes.iter().for_each(|hash| fold.push(8 * level as u32, *hash));
        }
        fold.root()
    }

    /// The full tiles since the last call, each once.
    pub(super) fn take_full(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full)
    }

    /// By level, what no full tile holds: the partial tiles of this size.
    pub(super) fn partial(&self) -> &[Vec<Hash>] {
        &self.levels
    }
}

/// Where the hashes of a tree are kept. `None` where a tile cannot be had.
pub(super) type TileSource<'a> = dyn Fn(u8, u64) -> Option<Vec<Hash>> + 'a;

/// The inclusion proof of entry `index` in the tree of `size` entries, RFC 6962 section 2.1.1.
pub(super) fn inclusion(index: u64, size: u64, tiles: &TileSource<'_>) -> Option<Vec<Hash>> {
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range(middle, high, tiles)?);
            high = middle;
        } else {
            proof.push(range(low, middle, tiles)?);
            low = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that `leaf` is entry `index` of the tree of `size` entries with this `root`.
pub(super) fn is_included(leaf: &Hash, (index, size): (u64, u64), proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    // RFC 9162 section 2.1.3.2.
    let (mut node_at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node_at & 1 == 1 || node_at == last {
            hash = node(sibling, &hash);
            while node_at & 1 == 0 && node_at != 0 {
                node_at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        node_at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The largest power of two below `size`.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// Root of the entries from `low` to `high`.
fn range(low: u64, high: u64, tiles: &TileSource<'_>) -> Option<Hash> {
    let size = high - low;
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        let level = (height / 8) as u8;
        let first = low >> (8 * u32::from(level));
        let from = (first % TILE) as usize;
        let count = 1_usize << (height % 8);
        let hashes = tiles(level, first / TILE)?;
        let mut fold = Fold::default();
        hashes.get(from..from + count)?.iter().for_each(|hash| fold.push(0, *hash));
        return Some(fold.root());
    }
    let middle = low + split(size);
    Some(node(&range(low, middle, tiles)?, &range(middle, high, tiles)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The eight entries and the roots over the first one to eight of them, as Certificate Transparency's own
    /// implementations test theirs.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn grown(size: u64) -> Growth {
        let mut growth = Growth::default();
        (0..size).for_each(|number| growth.push(leaf(&number.to_be_bytes())));
        growth
    }

    /// RFC 6962 section 2.1, word for word.
    fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [only] => *only,
            leaves => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    #[test]
    fn the_roots_are_those_of_the_published_vectors() {
        let mut growth = Growth::default();
        assert_eq!(hex(&growth.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

        for (entry, root) in ENTRIES.iter().zip(ROOTS) {
            assert_eq!(leaf_in_place(&mut [b"!", *entry].concat()), leaf(entry));
            growth.push(leaf(entry));
            assert_eq!(hex(&growth.root()), root, "{} entries", growth.size());
        }
    }

    #[test]
    fn the_root_is_the_one_of_the_definition_around_every_edge_of_a_tile() {
        let leaves: Vec<Hash> = (0_u64..70_000).map(|number| leaf(&number.to_be_bytes())).collect();

        for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 69_999] {
            assert_eq!(grown(size).root(), root_by_definition(&leaves[..size as usize]), "{size}");
        }
    }

    #[test]
    fn a_tree_put_together_from_tiles_has_the_same_root() {
        let mut whole = grown(65_536 + 300);
        let tiles = whole.take_full();
        let mut from_tiles = Growth::default();

        let top = tiles.iter().find(|tile| tile.level == 1).unwrap();
        top.hashes.iter().for_each(|hash| from_tiles.push_subtree(1, *hash));
        let last = tiles.iter().find(|tile| tile.level == 0 && tile.index == 256).unwrap();
        last.hashes.iter().for_each(|hash| from_tiles.push(*hash));
        (65_536 + 256_u64..65_536 + 300).for_each(|number| from_tiles.push(leaf(&number.to_be_bytes())));

        assert_eq!(from_tiles.root(), whole.root());
        assert_eq!(tiles.len(), 257 + 1);
    }

    proptest! {
        #[test]
        fn every_entry_is_proved_at_its_place_and_nowhere_else(size in 1_u64..1_500, at: u64, other: u64) {
            let (index, other) = (at % size, other % size);
            let mut growth = grown(size);
            let full = growth.take_full();
            let tiles = |level: u8, index: u64| {
                let tile = full.iter().find(|tile| (tile.level, tile.index) == (level, index));
                tile.map(|tile| tile.hashes.clone()).or_else(|| growth.partial().get(usize::from(level)).cloned())
            };

            let proof = inclusion(index, size, &tiles).unwrap();

            let (entry, root) = (leaf(&index.to_be_bytes()), growth.root());
            prop_assert!(is_included(&entry, (index, size), &proof, &root));
            prop_assert!(other == index || !is_included(&entry, (other, size), &proof, &root));
            prop_assert!(!is_included(&leaf(b"another"), (index, size), &proof, &root));
            prop_assert!(!is_included(&entry, (index, size), &proof, &leaf(b"another root")));
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert!(!is_included(&entry, (index, size), shorter, &root));
            }
            let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
            prop_assert!(!is_included(&entry, (index, size), &longer, &root));
        }
    }
}
