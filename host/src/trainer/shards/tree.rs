//! The order in which shards are added up.

use std::ops::Range;

/// Shards that are added up together: a leaf, or all leaves of a subtree.
pub(in crate::trainer) type Node = Range<u64>;

/// Where a subtree is cut in two: its left side has as many leaves as the largest power of two below their number.
fn middle(node: &Node) -> u64 {
    node.start + (node.end - node.start).next_power_of_two() / 2
}

fn len(node: &Node) -> u64 {
    node.end - node.start
}

/// Whether a tree over the first `count` shards has this subtree.
pub(super) fn has(count: u64, wanted: &Node) -> bool {
    let mut node = 0..count;
    while len(&node) > len(wanted) {
        let middle = middle(&node);
        node = match wanted.start < middle {
            true => node.start..middle,
            false => middle..node.end,
        };
    }
    node == *wanted
}

/// The largest subtrees of a tree over the first `count` shards that together are these, from left to right.
pub(super) fn cover(count: u64, own: &Node) -> Vec<Node> {
    fn walk(node: Node, own: &Node, found: &mut Vec<Node>) {
        if node.end <= own.start || own.end <= node.start {
            return;
        }
        if own.start <= node.start && node.end <= own.end {
            found.push(node);
            return;
        }
        let middle = middle(&node);
        walk(node.start..middle, own, found);
        walk(middle..node.end, own, found);
    }
    let mut found = Vec::new();
    walk(0..count, own, &mut found);
    found
}

/// The sum over a tree of the first `count` shards, of the subtrees that are known; none if one is missing.
pub(super) fn sum<T>(
    count: u64,
    known: &mut dyn FnMut(&Node) -> Option<T>,
    add: &dyn Fn(T, T) -> T,
) -> Option<T> {
    fn walk<T>(
        node: Node,
        known: &mut dyn FnMut(&Node) -> Option<T>,
        add: &dyn Fn(T, T) -> T,
    ) -> Option<T> {
        if let Some(sum) = known(&node) {
            return Some(sum);
        }
        if len(&node) <= 1 {
            return None;
        }
        let middle = middle(&node);
        let left = walk(node.start..middle, known, add)?;
        let right = walk(middle..node.end, known, add)?;
        Some(add(left, right))
    }
    walk(0..count, known, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of so many shards as an expression, of what so many processes hold of them.
    fn expression(count: u64, processes: u64) -> String {
        let leaf = |at: &Node| (len(at) == 1).then(|| at.start.to_string());
        let add = |left: String, right: String| format!("({left}+{right})");
        let of = |node: &Node| {
            // As a tree of its own, counted from its first leaf.
            let mut own = |at: &Node| leaf(&(node.start + at.start..node.start + at.end));
            sum(len(node), &mut own, &add).unwrap()
        };
        let share = count / processes;
        let mut held: Vec<(Node, String)> = (0..processes)
            .flat_map(|rank| cover(count, &(rank * share..(rank + 1) * share)))
            .map(|node| (node.clone(), of(&node)))
            .collect();
        let mut known = |node: &Node| {
            let at = held.iter().position(|(own, _)| own == node)?;
            Some(held.remove(at).1)
        };
        let sum = sum(count, &mut known, &add).unwrap();
        assert!(held.is_empty(), "{held:?}");
        sum
    }

    #[test]
    fn the_sum_is_one_expression_whoever_holds_the_shards() {
        assert_eq!(expression(4, 1), "((0+1)+(2+3))");
        assert_eq!(expression(6, 1), "(((0+1)+(2+3))+(4+5))");
        for count in 1..=24u64 {
            let alone = expression(count, 1);
            for processes in (1..=count).filter(|it| count % it == 0) {
                assert_eq!(
                    expression(count, processes),
                    alone,
                    "{count} on {processes}"
                );
            }
        }
    }

    #[test]
    fn a_tree_has_its_own_subtrees_and_no_other() {
        for count in 1..=17 {
            let nodes: Vec<Node> = (0..count)
                .flat_map(|start| (start + 1..=count).map(move |end| start..end))
                .filter(|node| cover(count, node) == [node.clone()])
                .collect();
            // A binary tree.
            assert_eq!(nodes.len() as u64, 2 * count - 1);
            for start in 0..count {
                for end in start + 1..=count {
                    assert_eq!(has(count, &(start..end)), nodes.contains(&(start..end)));
                }
            }
        }
    }

    #[test]
    fn a_missing_subtree_leaves_no_sum() {
        let mut known = |node: &Node| (*node != (2..3) && len(node) == 1).then_some(1);
        assert_eq!(sum(4, &mut known, &|a, b| a + b), None);
    }
}
