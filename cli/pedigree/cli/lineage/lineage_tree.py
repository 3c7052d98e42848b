"""Lineage in the terminal: what a dataset or a job is made of, as a tree."""

from __future__ import annotations

from rich.tree import Tree

from pedigree.cli.errors import UnexplainedError
from pedigree.cli.serving_plan import current_plan
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.client.records import LineageGraph
from pedigree.lineage.naming import dataset_node, feature_service
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.settings import ServingSettings

DEPTH = 50


def service_graphs(settings: ServingSettings, lineage: LineageClient) -> dict[str, LineageGraph]:
    """For each feature service, by its node id, everything around it."""
    plan = current_plan(read_repo(settings.feature_store_yaml))
    nodes = [dataset_node(feature_service(plan.project, name)) for name in plan.services]
    return {node: lineage.lineage(node, DEPTH) for node in nodes}


def node_named(word: str, graph: LineageGraph) -> str:
    """The one node whose id or name is `word`, or ends with it after a slash or a dot.

    Raises:
        UnexplainedError: none or several are.
    """
    exact = [id_ for id_, node in graph.nodes.items() if word in (id_, node.name)]
    found = exact or [id_ for id_, node in graph.nodes.items() if node.name.endswith((f"/{word}", f".{word}"))]
    if len(found) != 1:
        candidates = "\n  ".join(sorted(found or graph.nodes))
        raise UnexplainedError(f"{word!r} names {len(found)} nodes; name one of these:\n  {candidates}")
    return found[0]


def drawn(node_id: str, graph: LineageGraph) -> Tree:
    """Everything upstream of a node; what was drawn above is not drawn again."""
    tree = Tree(label(node_id, graph))
    grow(tree, node_id, graph, seen={node_id})
    return tree


def grow(branch: Tree, node_id: str, graph: LineageGraph, *, seen: set[str]) -> None:
    """Add what leads into a node, and so on."""
    for origin in sorted(edge.origin for edge in graph.edges if edge.destination == node_id):
        if origin in seen:
            branch.add(f"{label(origin, graph)}  [dim](see above)[/dim]")
            continue
        seen.add(origin)
        grow(branch.add(label(origin, graph)), origin, graph, seen=seen)


def label(node_id: str, graph: LineageGraph) -> str:
    """A node in one line: jobs by name, datasets by place."""
    node = graph.nodes[node_id]
    return f"[bold]{node.name}[/bold]" if node.kind.upper() == "JOB" else f"{node.namespace} {node.name}"
