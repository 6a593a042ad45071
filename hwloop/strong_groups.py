"""Strongly connected components: which nodes of a directed graph are part of one loop."""

from __future__ import annotations

from collections.abc import Sequence


def strong_groups(after: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strongly connected components in topological order (Tarjan 1972, without recursion), each ascending.

    ``after[k]``: the nodes that edges lead to from node ``k``.
    """
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    waiting: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(after)):
        work = [] if root in index else [(root, 0)]
        while work:
            node, k = work.pop()
            if k == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                waiting.add(node)
            if k < len(after[node]):
                work.append((node, k + 1))
                other = after[node][k]
                if other not in index:
                    work.append((other, 0))
                elif other in waiting:
                    low[node] = min(low[node], index[other])
                continue
            for other in after[node]:
                if other in waiting:
                    low[node] = min(low[node], low[other])
            if low[node] == index[node]:
                group: list[int] = []
                while not group or group[-1] != node:
                    group.append(stack.pop())
                    waiting.discard(group[-1])
                found.append(sorted(group))
    return found[::-1]
