//! Storing each name and each stack once: what keeps a gigabyte of folded text small.

use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

pub(crate) fn hasher() -> RandomState {
    // Fixed, so that the same input takes the same path through the engine on every run.
    RandomState::with_seeds(1, 2, 3, 4)
}

/// A set of sequences, each known by a number given in order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct Interned<T> {
    items: Vec<T>,
    ends: Vec<usize>,
    table: HashTable<u32>,
    state: RandomState,
}

/// A set of byte strings.
pub(crate) type Names = Interned<u8>;

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            state: hasher(),
        }
    }
}

impl<T: Copy + Eq + Hash> Interned<T> {
    /// How many sequences there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many items all sequences hold together.
    pub(crate) fn items(&self) -> usize {
        self.items.len()
    }

    /// The sequence with this number.
    pub(crate) fn get(&self, id: u32) -> &[T] {
        slice(&self.items, &self.ends, id)
    }

    /// The number of a sequence that was added before.
    pub(crate) fn find(&self, sequence: &[T]) -> Option<u32> {
        self.hashed(sequence, self.state.hash_one(sequence))
    }

    fn hashed(&self, sequence: &[T], hash: u64) -> Option<u32> {
        let known = |id: &u32| slice(&self.items, &self.ends, *id) == sequence;
        self.table.find(hash, known).copied()
    }

    /// The number of a sequence, and whether it is new.
    pub(crate) fn add(&mut self, sequence: &[T]) -> (u32, bool) {
        let hash = self.state.hash_one(sequence);
        if let Some(id) = self.hashed(sequence, hash) {
            return (id, false);
        }
        // Four billion different names or stacks would need over 100 GB: more than any machine
        // that perfkit runs on, so the limit is a bug and not bad input.
        let id = u32::try_from(self.ends.len()).expect("fewer than 2^32 different entries");
        let (items, ends, state) = (&self.items, &self.ends, &self.state);
        self.table
            .insert_unique(hash, id, |id| state.hash_one(slice(items, ends, *id)));
        self.items.extend_from_slice(sequence);
        self.ends.push(self.items.len());
        (id, true)
    }

    /// Forgets everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.ends.clear();
        self.table.clear();
    }
}

fn slice<'a, T>(all: &'a [T], ends: &[usize], id: u32) -> &'a [T] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &all[start..ends[id]]
}

/// A set of stacks (numbers of names), each with a count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stacks {
    stacks: Interned<u32>,
    counts: Vec<u64>,
}

impl Stacks {
    /// How many different stacks there are.
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Adds `count` to the count of `stack`; `None` when that passes `u64::MAX`.
    #[must_use]
    pub(crate) fn add(&mut self, stack: &[u32], count: u64) -> Option<()> {
        let (id, new) = self.stacks.add(stack);
        if new {
            self.counts.push(0);
        }
        let total = &mut self.counts[id as usize];
        *total = total.checked_add(count)?;
        Some(())
    }

    /// Stack and count with this number.
    pub(crate) fn get(&self, id: u32) -> (&[u32], u64) {
        (self.stacks.get(id), self.counts[id as usize])
    }

    /// All stacks with their counts, in order of arrival.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u32], u64)> {
        (0..self.len() as u32).map(|id| self.get(id))
    }
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
        let mut stacks = Stacks::default();
        assert_eq!(stacks.add(&[1, 2], 3), Some(()));
        assert_eq!(stacks.add(&[1], 1), Some(()));
        assert_eq!(stacks.add(&[1, 2], 4), Some(()));
        let all: Vec<_> = stacks.iter().collect();
        assert_eq!(all, [(&[1, 2][..], 7), (&[1][..], 1)]);
        assert_eq!(stacks.add(&[1], u64::MAX), None);
    }
}
