//! Ensembles laid out for scoring many rows at once.
//!
//! Cost: a step down a tree is a dozen instructions without a branch that data decide. Eight rows go down together, so that
//! one's reads are done while another's are waited for. Nodes take 12 bytes; the values of a row lie together, 4 bytes each.

use crate::trees::{Split, Tree};

/// How a value of a column is put for the nodes that ask for it.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// The largest single-precision number that is not above it: compares with such numbers as the value does.
    Down,
    /// Rounded to single precision.
    Nearest,
    /// The same, 0 as missing.
    Sparse,
    /// A whole number below this, or this for anything else.
    Code(u32),
}

#[derive(Clone, Copy)]
struct Step {
    /// The threshold's bits, or the first word of a set.
    test: u32,
    /// The child on the left; the right one is next to it. A leaf points at itself.
    left: u32,
    slot: u16,
    /// Bit 0: a set. Bit 1: missing values go right.
    kind: u16,
}

struct FlatTree {
    class: usize,
    steps: Vec<Step>,
    values: Vec<f32>,
}

pub struct Flat {
    slots: Vec<(usize, Form)>,
    /// Bits of all sets; word 0 is for nodes that have none.
    words: Vec<u32>,
    trees: Vec<FlatTree>,
}

/// Rows put into slots together.
const BLOCK: usize = 256;
/// Rows that go down a tree side by side.
const LANES: usize = 8;
/// Trees that one row goes down side by side.
const TREES: usize = 8;
/// Beyond this many words of sets the nodes are walked as they are.
const WORDS_MAX: usize = 1 << 23;
/// Fewer rows are not worth the laying out.
const ROWS_MIN: usize = 512;

impl Flat {
    /// Lays out trees for this many rows; none where that would not pay.
    pub fn new<'a>(groups: impl Iterator<Item = &'a [Tree]> + Clone, rows: usize) -> Option<Flat> {
        let nodes: usize = groups.clone().flatten().map(|t| t.nodes.len()).sum();
        if rows < ROWS_MIN || nodes > rows * 64 {
            return None;
        }
        // One slot for each column and form that nodes ask for.
        let mut slots: Vec<(usize, Form)> = vec![];
        let mut place = |column: u32, form: Form| -> usize {
            let same = |s: &(usize, Form)| s.0 == column as usize && (s.1 == form || matches!((s.1, form), (Form::Code(_), Form::Code(_))));
            let at = slots.iter().position(same).unwrap_or_else(|| {
                slots.push((column as usize, form));
                slots.len() - 1
            });
            if let (Form::Code(n), Form::Code(m)) = (&mut slots[at].1, form) {
                *n = (*n).max(m);
            }
            at
        };
        let form = |split: &Split| match split {
            Split::Leaf => None,
            Split::Less(_) | Split::Missing => Some(Form::Down),
            Split::Below(_) => Some(Form::Nearest),
            Split::SparseBelow(_) => Some(Form::Sparse),
            Split::Set { offset, bits } => Some(Form::Code(offset.saturating_add(bits.len() as u32))),
        };
        for n in groups.clone().flatten().flat_map(|t| &t.nodes) {
            if let Some(f) = form(&n.split) {
                place(n.column, f);
            }
        }
        if slots.is_empty() {
            slots.push((0, Form::Down));
        }
        let found = |column: u32, f: Form| {
            let same = |s: &(usize, Form)| s.0 == column as usize && std::mem::discriminant(&s.1) == std::mem::discriminant(&f);
            slots.iter().position(same)
        };
        if slots.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut words = vec![0u32];
        let mut trees = vec![];
        for (class, tree) in groups.flat_map(|g| g.iter().enumerate()).filter(|(_, t)| !t.nodes.is_empty()) {
            let mut order = vec![0u32];
            let mut flat = FlatTree { class, steps: Vec::with_capacity(tree.nodes.len()), values: Vec::with_capacity(tree.nodes.len()) };
            let mut at = 0;
            while at < order.len() {
                let node = tree.nodes.get(order[at] as usize)?;
                let nan = f32::NAN.to_bits();
                flat.values.push(node.value);
                let Some(f) = form(&node.split) else {
                    flat.steps.push(Step { test: nan, left: at as u32, slot: 0, kind: 0 });
                    at += 1;
                    continue;
                };
                let slot = found(node.column, f)?;
                let missing_right = u16::from(!node.missing_left) << 1;
                let (test, kind) = match &node.split {
                    Split::Less(t) | Split::Below(t) | Split::SparseBelow(t) => (t.to_bits(), missing_right),
                    Split::Missing => (nan, 2),
                    Split::Set { offset, bits } => {
                        let Form::Code(levels) = slots[slot].1 else { return None };
                        let first = words.len();
                        let fill = if node.missing_left { 0 } else { u32::MAX };
                        words.resize(first + levels as usize / 32 + 1, fill);
                        if words.len() > WORDS_MAX {
                            return None;
                        }
                        for (i, right) in bits.iter().enumerate() {
                            let code = *offset as usize + i;
                            let (word, bit) = (first + code / 32, 1u32 << (code % 32));
                            if *right { words[word] |= bit } else { words[word] &= !bit }
                        }
                        (first as u32, 1)
                    }
                    Split::Leaf => unreachable!("leaves have no form"),
                };
                // A node that is met twice would make the layout endless.
                if order.len() + 2 > tree.nodes.len() {
                    return None;
                }
                flat.steps.push(Step { test, left: order.len() as u32, slot: slot as u16, kind });
                order.extend([node.left, node.right]);
                at += 1;
            }
            trees.push(flat);
        }
        Some(Flat { slots, words, trees })
    }

    /// Puts a block of rows into slots, those of a row side by side.
    fn fill(&self, n: usize, read: impl Fn(usize, usize) -> f64, out: &mut [u32]) {
        let width = self.slots.len();
        for (s, (column, form)) in self.slots.iter().enumerate() {
            let values = (0..n).map(|i| read(*column, i));
            let places = out[s..].iter_mut().step_by(width);
            match form {
                Form::Down => places.zip(values).for_each(|(o, v)| {
                    let near = v as f32;
                    *o = if f64::from(near) > v { near.next_down() } else { near }.to_bits();
                }),
                Form::Nearest => places.zip(values).for_each(|(o, v)| *o = (v as f32).to_bits()),
                Form::Sparse => places.zip(values).for_each(|(o, v)| *o = if v == 0.0 { f32::NAN } else { v as f32 }.to_bits()),
                Form::Code(levels) => {
                    places.zip(values).for_each(|(o, v)| *o = if v >= 0.0 && v < f64::from(*levels) { v as u32 } else { *levels })
                }
            }
        }
    }

    /// Calls `add(row, class, value)` with the leaf of each of `n` rows in every tree, in the trees' order; `read(column,
    /// row)` is what a row has in a column.
    pub fn leaves(&self, n: usize, read: impl Fn(usize, usize) -> f64, mut add: impl FnMut(usize, usize, f32)) {
        let width = self.slots.len();
        let mut block = vec![0u32; (BLOCK.min(n) + LANES) * width];
        for first in (0..n).step_by(BLOCK) {
            let here = BLOCK.min(n - first);
            self.fill(here, |c, i| read(c, first + i), &mut block[..here * width]);
            if here < LANES {
                // Too few rows to go down a tree together: each goes down several trees.
                for row in 0..here {
                    for trees in self.trees.chunks(TREES) {
                        let at = self.descend_trees(trees, &block[row * width..(row + 1) * width]);
                        for (tree, at) in trees.iter().zip(at) {
                            add(first + row, tree.class, tree.values[at as usize]);
                        }
                    }
                }
                continue;
            }
            for tree in &self.trees {
                for row in (0..here).step_by(LANES) {
                    let at = self.descend(tree, &block[row * width..(row + LANES) * width]);
                    for (lane, at) in at.iter().enumerate().take(here - row) {
                        add(first + row + lane, tree.class, tree.values[*at as usize]);
                    }
                }
            }
        }
    }

    /// The leaves of rows side by side.
    #[inline]
    fn descend(&self, tree: &FlatTree, rows: &[u32]) -> [u32; LANES] {
        let width = self.slots.len();
        assert!(rows.len() == LANES * width);
        let mut at = [0u32; LANES];
        loop {
            let mut moved = 0;
            for (at, row) in at.iter_mut().zip(rows.chunks_exact(width)) {
                let next = self.step(tree, *at, row);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return at;
            }
        }
    }

    /// The leaves of one row in several trees.
    #[inline]
    fn descend_trees(&self, trees: &[FlatTree], row: &[u32]) -> [u32; TREES] {
        assert!(row.len() == self.slots.len());
        let mut at = [0u32; TREES];
        // As many trees as there may be make a loop of known length.
        match <&[FlatTree; TREES]>::try_from(trees) {
            Ok(all) => self.walk(&mut at, all, row),
            Err(_) => self.walk(&mut at, trees, row),
        }
        at
    }

    #[inline(always)]
    fn walk(&self, at: &mut [u32; TREES], trees: &[FlatTree], row: &[u32]) {
        loop {
            let mut moved = 0;
            for (at, tree) in at.iter_mut().zip(trees) {
                let next = self.step(tree, *at, row);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return;
            }
        }
    }

    /// Where a row that is at a step goes next; `at` is 0 or what this answered before, `row` as long as there are slots.
    #[inline(always)]
    fn step(&self, tree: &FlatTree, at: u32, row: &[u32]) -> u32 {
        // SAFETY: `new` makes every child's index that of a step, every slot one of `slots`, and every set as long as the
        // largest code of its slot asks for; `fill` writes no larger code. Rows past the last of a block hold what an
        // earlier block left there, which obeys the same.
        let (step, word, value) = unsafe {
            let step = *tree.steps.get_unchecked(at as usize);
            let value = *row.get_unchecked(usize::from(step.slot));
            let set = 0u32.wrapping_sub(u32::from(step.kind & 1));
            let word = *self.words.get_unchecked(((step.test.wrapping_add(value >> 5)) & set) as usize);
            (step, word, value)
        };
        let (v, t) = (f32::from_bits(value), f32::from_bits(step.test));
        let above = u32::from(v >= t) | (u32::from(v.is_nan()) & u32::from(step.kind >> 1));
        let set = u32::from(step.kind & 1);
        let right = (set & (word >> (value & 31))) | ((set ^ 1) & above);
        step.left + right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::Node;

    /// Every kind of split, on values at thresholds, beside them, missing, infinite and unseen.
    #[test]
    fn the_layout_changes_no_leaf() {
        let mut state = 7u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let mut groups = vec![];
        for _ in 0..20 {
            let mut nodes = vec![];
            let inner = 40;
            for i in 0..2 * inner + 1 {
                let leaf = i >= inner;
                let t = draw(9) as f32 * 0.1;
                let split = match if leaf { 9 } else { draw(5) } {
                    0 => Split::Less(t),
                    1 => Split::Below(t),
                    2 => Split::SparseBelow(t),
                    3 => Split::Set { offset: draw(3) as u32, bits: (0..1 + draw(40)).map(|_| draw(2) == 1).collect() },
                    4 => Split::Missing,
                    _ => Split::Leaf,
                };
                let (left, right) = (2 * i as u32 + 1, 2 * i as u32 + 2);
                let column = if matches!(split, Split::Set { .. }) { draw(2) } else { 2 + draw(3) } as u32;
                nodes.push(Node { split, column, missing_left: draw(2) == 1, left, right, value: i as f32, weight: 1.0, gain: 0.0 });
            }
            groups.push(vec![Tree { nodes }]);
        }
        let rows = 1000;
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e300, -1e300, 0.1, f64::from(0.1f32), 0.3 + 1e-12, -0.5];
        let mut column = |codes: bool| -> Vec<f64> {
            let value = |d: u64| {
                if d < 10 {
                    special[d as usize]
                } else if codes {
                    (d - 10) as f64
                } else {
                    (d - 10) as f64 * 0.02
                }
            };
            (0..rows).map(|_| value(draw(60))).collect()
        };
        let columns: Vec<Vec<f64>> = (0..5).map(|c| column(c < 2)).collect();
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let flat = Flat::new(groups.iter().map(Vec::as_slice), 100_000).unwrap();
        let mut seen = 0;
        let mut tree = vec![0; rows];
        flat.leaves(
            rows,
            |c, i| views[c][i],
            |row, class, value| {
                assert_eq!(class, 0);
                assert_eq!(value, groups[tree[row]][0].leaf(&views, row).value, "row {row}");
                tree[row] += 1;
                seen += 1;
            },
        );
        assert_eq!(seen, rows * groups.len());
        for row in 0..rows {
            let mut tree = 0;
            flat.leaves(
                1,
                |c, _| views[c][row],
                |_, _, value| {
                    assert_eq!(value, groups[tree][0].leaf(&views, row).value, "row {row} alone");
                    tree += 1;
                },
            );
        }
    }
}
