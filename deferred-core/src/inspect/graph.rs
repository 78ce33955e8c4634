//! The graph of waiting: which items wait for each other in a circle, and for which nothing waits.

use super::PendingItem;

/// Facts about the items of a list, by their indices.
#[derive(Clone, Default)]
pub(super) struct Graph {
    /// The sets of items that wait for each other, in the order of waiting.
    pub(super) circles: Vec<Vec<usize>>,
    /// The items for which nothing outside of their own circle waits. Of a circle, its first item.
    pub(super) roots: Vec<usize>,
    /// All items, each after those for which it waits.
    pub(super) order: Vec<usize>,
    /// Whether an item is in a circle.
    pub(super) in_circle: Vec<bool>,
}

/// The state of an item in Tarjan's algorithm for strongly connected components, which is used
/// without recursion.
#[derive(Clone, Copy, Default)]
struct Visit {
    /// The number of the visit, from 1 on; 0 before.
    number: usize,
    /// The smallest number that is reachable.
    lowest: usize,
    is_open: bool,
    component: usize,
}

impl Graph {
    pub(super) fn new(items: &[PendingItem]) -> Graph {
        let mut graph = Graph { in_circle: vec![false; items.len()], ..Graph::default() };
        let mut visits = vec![Visit::default(); items.len()];
        let (mut number, mut components) = (0, 0);
        let mut open = Vec::new();
        for start in 0..items.len() {
            if visits[start].number > 0 {
                continue;
            }
            // Each entry is an item and the number of its edges that were followed.
            let mut path = vec![(start, 0)];
            while let Some((item, followed)) = path.pop() {
                if followed == 0 {
                    number += 1;
                    visits[item] = Visit { number, lowest: number, is_open: true, component: 0 };
                    open.push(item);
                } else {
                    let target = items[item].waits_for[followed - 1];
                    if visits[target].is_open {
                        visits[item].lowest = visits[item].lowest.min(visits[target].lowest);
                    }
                }
                if let Some(&target) = items[item].waits_for.get(followed) {
                    path.push((item, followed + 1));
                    if visits[target].number == 0 {
                        path.push((target, 0));
                    }
                    continue;
                }
                if visits[item].lowest == visits[item].number {
                    let mut members = Vec::new();
                    while let Some(member) = open.pop() {
                        visits[member].is_open = false;
                        visits[member].component = components;
                        members.push(member);
                        if member == item {
                            break;
                        }
                    }
                    components += 1;
                    graph.order.extend(&members);
                    if members.len() > 1 || items[item].waits_for.contains(&item) {
                        members.iter().for_each(|member| graph.in_circle[*member] = true);
                        members.reverse();
                        graph.circles.push(members);
                    }
                }
            }
        }
        let mut is_waited_for = vec![false; components];
        for (index, item) in items.iter().enumerate() {
            for target in &item.waits_for {
                if visits[*target].component != visits[index].component {
                    is_waited_for[visits[*target].component] = true;
                }
            }
        }
        for (index, visit) in visits.iter().enumerate() {
            if !is_waited_for[visit.component] {
                is_waited_for[visit.component] = true; // one root is enough
                graph.roots.push(index);
            }
        }
        graph
    }
}
