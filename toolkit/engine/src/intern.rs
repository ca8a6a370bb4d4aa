//! Storing each name and each stack once: what keeps a gigabyte of folded text small.

use ahash::RandomState;
use hashbrown::HashTable;

pub(crate) fn hasher() -> RandomState {
    // Fixed, so that the same input takes the same path through the engine on every run.
    RandomState::with_seeds(1, 2, 3, 4)
}

/// A set of byte strings, each known by a number given in order of arrival.
#[derive(Debug, Clone)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<u32>,
    state: RandomState,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            state: hasher(),
        }
    }
}

impl Names {
    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held by the names' text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The name with this number.
    #[must_use]
    pub fn get(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, id)
    }

    /// The number of `name`, and whether it is new.
    pub fn add(&mut self, name: &[u8]) -> (u32, bool) {
        let hash = self.state.hash_one(name);
        let (bytes, ends, state) = (&self.bytes, &self.ends, &self.state);
        let known = |id: &u32| slice(bytes, ends, *id) == name;
        if let Some(id) = self.table.find(hash, known) {
            return (*id, false);
        }
        let id = index(self.ends.len());
        self.table
            .insert_unique(hash, id, |id| state.hash_one(slice(bytes, ends, *id)));
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
        (id, true)
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.table.clear();
    }
}

/// A set of sequences of numbers, each with a count.
#[derive(Debug, Clone)]
pub struct Sequences {
    items: Vec<u32>,
    ends: Vec<usize>,
    counts: Vec<u64>,
    table: HashTable<u32>,
    state: RandomState,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            ends: Vec::new(),
            counts: Vec::new(),
            table: HashTable::new(),
            state: hasher(),
        }
    }
}

impl Sequences {
    /// How many different sequences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds `count` to the count of `sequence`; `None` when that passes `u64::MAX`.
    #[must_use]
    pub fn add(&mut self, sequence: &[u32], count: u64) -> Option<()> {
        let hash = self.state.hash_one(sequence);
        let (items, ends, state) = (&self.items, &self.ends, &self.state);
        let known = |id: &u32| slice(items, ends, *id) == sequence;
        if let Some(id) = self.table.find(hash, known) {
            let total = &mut self.counts[*id as usize];
            *total = total.checked_add(count)?;
            return Some(());
        }
        let id = index(self.ends.len());
        self.table
            .insert_unique(hash, id, |id| state.hash_one(slice(items, ends, *id)));
        self.items.extend_from_slice(sequence);
        self.ends.push(self.items.len());
        self.counts.push(count);
        Some(())
    }

    /// Sequence and count with this number.
    #[must_use]
    pub fn get(&self, id: u32) -> (&[u32], u64) {
        (slice(&self.items, &self.ends, id), self.counts[id as usize])
    }

    /// All sequences with their counts, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (&[u32], u64)> {
        (0..index(self.ends.len())).map(|id| self.get(id))
    }

    /// All items of all sequences, one after the other.
    #[must_use]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Where each sequence ends in [`Sequences::items`].
    #[must_use]
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The counts, in order of arrival.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

fn slice<'a, T>(all: &'a [T], ends: &[usize], id: u32) -> &'a [T] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &all[start..ends[id]]
}

/// Four billion different names or stacks would need over 100 GB: more than any machine that
/// perfkit runs on, so the limit is a bug and not bad input.
fn index(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 different entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_a_number_also_after_growing() {
        let mut names = Names::default();
        let first: Vec<u32> = (0..5_000)
            .map(|n| names.add(format!("name{n}").as_bytes()).0)
            .collect();
        for (n, id) in first.iter().enumerate() {
            let name = format!("name{n}");
            assert_eq!(names.add(name.as_bytes()), (*id, false));
            assert_eq!(names.get(*id), name.as_bytes());
        }
        assert_eq!(names.len(), 5_000);
        assert_eq!(names.add(b""), (5_000, true));
        assert_eq!(names.get(5_000), b"");
    }

    #[test]
    fn counts_add_up_and_never_wrap() {
        let mut stacks = Sequences::default();
        assert_eq!(stacks.add(&[1, 2], 3), Some(()));
        assert_eq!(stacks.add(&[1], 1), Some(()));
        assert_eq!(stacks.add(&[1, 2], 4), Some(()));
        let all: Vec<_> = stacks.iter().collect();
        assert_eq!(all, [(&[1, 2][..], 7), (&[1][..], 1)]);
        assert_eq!(stacks.add(&[1], u64::MAX), None);
    }
}
