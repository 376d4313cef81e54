"""Which labels the result of an expression has, and whether all that it names exists.

A name of a metric that nobody has, or a label that the metric does not have, is a mistake that
Prometheus does not report: the expression has no result, and an alert is silent for ever.
"""

import promql_parser as promql


class Mistake(Exception):
    """Said to whoever wrote the expression."""


def is_number(node):
    """A number has no labels, and whatever it is compared with keeps its own."""
    if isinstance(node, promql.BinaryExpr):
        return is_number(node.lhs) and is_number(node.rhs)
    if isinstance(node, (promql.ParenExpr, promql.UnaryExpr)):
        return is_number(node.expr)
    if isinstance(node, promql.Call):
        return node.func.name in ("scalar", "time")
    return isinstance(node, promql.NumberLiteral)


class Known:
    """Name -> labels of all metrics that there are: the router's, Prometheus's own, recorded ones."""

    def __init__(self, metrics):
        self.metrics = {**metrics, "up": frozenset({"job", "instance"})}

    def labels_of(self, text):
        """The labels that the result may have."""
        try:
            tree = promql.parse(text)
        except ValueError as wrong:
            raise Mistake(f"cannot be read: {wrong}") from None
        return self._labels(tree)

    def _labels(self, node):
        reader = getattr(self, f"_{type(node).__name__}", None)
        if reader is None:
            raise Mistake(f"is beyond this check: {type(node).__name__}")
        return reader(node)

    def _VectorSelector(self, node):
        matchers = node.matchers.matchers
        if node.name is None:
            raise Mistake("a selector names no metric")
        if node.name not in self.metrics:
            raise Mistake(f"there is no metric {node.name}")
        labels = self.metrics[node.name]
        for matcher in matchers:
            self._has(labels, matcher.name, node.name)
        return labels

    def _MatrixSelector(self, node):
        return self._labels(node.vector_selector)

    def _SubqueryExpr(self, node):
        return self._labels(node.expr)

    def _ParenExpr(self, node):
        return self._labels(node.expr)

    def _UnaryExpr(self, node):
        return self._labels(node.expr)

    def _NumberLiteral(self, _):
        return frozenset()

    def _StringLiteral(self, _):
        return frozenset()

    def _AggregateExpr(self, node):
        labels = self._labels(node.expr)
        if node.param is not None:
            self._labels(node.param)
        # These keep the series that they choose.
        keeps = str(node.op).lower().split(".")[-1] in ("topk", "bottomk")
        if node.modifier is None:
            return labels if keeps else frozenset()
        named = frozenset(node.modifier.labels)
        for label in named:
            self._has(labels, label, node.prettify())
        if keeps:
            return labels
        by = node.modifier.type == promql.AggModifierType.By
        return named if by else labels - named

    def _Call(self, node):
        labels = [self._labels(argument) for argument in node.args]
        name = node.func.name
        if name in ("scalar", "vector", "time", "absent"):
            return frozenset()
        if name == "histogram_quantile":
            self._has(labels[1], "le", node.prettify())
            return labels[1] - {"le"}
        if name in ("label_replace", "label_join"):
            raise Mistake(f"is beyond this check: {name}")
        return frozenset().union(*labels)

    def _BinaryExpr(self, node):
        left, right = self._labels(node.lhs), self._labels(node.rhs)
        modifier = node.modifier
        if modifier is not None and modifier.matching is not None:
            for label in modifier.matching.labels:
                self._has(left, label, node.lhs.prettify())
                self._has(right, label, node.rhs.prettify())
        operator = str(node.op).lower().split(".")[-1]
        if operator == "or":
            return left | right
        if is_number(node.lhs):
            return right
        extra = frozenset((modifier.group_labels if modifier else None) or ())
        for label in extra:
            self._has(left | right, label, node.prettify())
        return left | extra

    @staticmethod
    def _has(labels, label, of):
        if label not in labels:
            raise Mistake(f"{of} has no label {label}, only {', '.join(sorted(labels)) or 'none'}")
