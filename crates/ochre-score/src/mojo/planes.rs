//! Extended isolation forests in MOJOs: a file for each tree, little-endian.

use super::Parts;
use crate::planes::{PlaneForest, PlaneNode};

/// Nodes are numbered as in a full tree; deeper ones have no number.
const DEPTH_MAX: u32 = 30;

pub fn write(m: &PlaneForest, parts: &mut Parts) -> Result<(), String> {
    parts.put("ntrees", m.trees.len());
    parts.put("sample_size", m.sample_size);
    for (t, tree) in m.trees.iter().enumerate() {
        let mut out = (m.columns as i32).to_le_bytes().to_vec();
        let mut open = vec![(0u32, 0i32, 0u32)];
        while let Some((at, number, depth)) = open.pop() {
            out.extend(number.to_le_bytes());
            match &tree[at as usize] {
                PlaneNode::Leaf { rows } => {
                    out.push(b'L');
                    out.extend((*rows as i32).to_le_bytes());
                }
                PlaneNode::Plane { terms, left, right } => {
                    if depth + 1 >= DEPTH_MAX {
                        return Err(format!("tree {t} is deeper than the {DEPTH_MAX} levels that the format numbers"));
                    }
                    let (mut normal, mut point) = (vec![0.0f64; m.columns], vec![0.0f64; m.columns]);
                    for (c, n, p) in terms {
                        (normal[*c as usize], point[*c as usize]) = (*n, *p);
                    }
                    out.push(b'N');
                    out.extend(normal.iter().chain(&point).flat_map(|v| v.to_le_bytes()));
                    open.push((*right, 2 * number + 2, depth + 1));
                    open.push((*left, 2 * number + 1, depth + 1));
                }
            }
        }
        parts.blobs.insert(format!("trees/t{t:02}.bin"), out);
    }
    Ok(())
}

pub fn read(parts: &Parts, columns: usize) -> Result<PlaneForest, String> {
    let (count, sample_size) = (parts.count("ntrees")?, parts.count("sample_size")?);
    if sample_size < 2 {
        return Err(format!("sample_size is {sample_size}, less than 2"));
    }
    let mut trees = vec![];
    for t in 0..count {
        let name = format!("trees/t{t:02}.bin");
        let blob = parts.blobs.get(&name).ok_or_else(|| format!("it lacks {name}"))?;
        trees.push(read_tree(blob, columns).map_err(|e| format!("{name}: {e}"))?);
    }
    Ok(PlaneForest { sample_size, columns, trees })
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (head, tail) = rest.split_at_checked(n).ok_or("it is cut short")?;
    *rest = tail;
    Ok(head)
}

fn int(bytes: &[u8]) -> Result<i32, String> {
    bytes.try_into().map(i32::from_le_bytes).map_err(|_| "it is cut short".into())
}

fn read_tree(blob: &[u8], columns: usize) -> Result<Vec<PlaneNode>, String> {
    let mut rest = blob;
    let mut found: std::collections::HashMap<i32, u32> = Default::default();
    let mut nodes = vec![];
    let size = int(take(&mut rest, 4)?)?;
    if usize::try_from(size) != Ok(columns) {
        return Err(format!("it cuts {size} columns where the model has {columns}"));
    }
    // What comes after the last node is filled up with zeros.
    while rest.iter().any(|b| *b != 0) {
        let number = int(take(&mut rest, 4)?)?;
        let at = nodes.len() as u32;
        match take(&mut rest, 1)?[0] {
            b'L' => {
                let rows = u32::try_from(int(take(&mut rest, 4)?)?).map_err(|_| "a leaf has a negative number of rows")?;
                nodes.push(PlaneNode::Leaf { rows });
            }
            b'N' => {
                let bytes = take(&mut rest, 16 * columns)?;
                let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
                let terms = (0..columns).filter(|&c| values[c] != 0.0).map(|c| (c as u32, values[c], values[columns + c])).collect();
                nodes.push(PlaneNode::Plane { terms, left: 0, right: 0 });
            }
            other => return Err(format!("node {number} is of an unknown kind {other}")),
        }
        if number < 0 || found.insert(number, at).is_some() {
            return Err(format!("node {number} is there twice, or its number is negative"));
        }
    }
    let numbers: Vec<(i32, u32)> = found.iter().map(|(n, at)| (*n, *at)).collect();
    for (number, at) in numbers {
        if let PlaneNode::Plane { left, right, .. } = &mut nodes[at as usize] {
            let child = |k: i32| number.checked_mul(2).and_then(|n| n.checked_add(k)).and_then(|n| found.get(&n)).copied();
            let missing = || format!("node {number} lacks a child");
            (*left, *right) = (child(1).ok_or_else(missing)?, child(2).ok_or_else(missing)?);
        }
    }
    // The root is first.
    let root = *found.get(&0).ok_or("it has no root")?;
    if root != 0 {
        return Err("its root is not its first node".into());
    }
    Ok(nodes)
}
