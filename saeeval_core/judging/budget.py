"""The budget of a judge's run, in tokens or in money."""

from dataclasses import dataclass, field

from saeeval_core.errors import ConfigError


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply, or summed over several."""

    input: int = 0
    """Input tokens charged in full (those written to the prompt cache included)."""
    cached: int = 0
    """Input tokens read from the prompt cache; budgets count them in full, so that a budget is never exceeded."""
    output: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input + other.input, self.cached + other.cached, self.output + other.output)


@dataclass
class Budget:
    """Limits and use so far. A limit in USD needs both prices (USD per million tokens), which the user must give."""

    tokens: int | None = None
    usd: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    used: Usage = field(default_factory=Usage)
    under_way: Usage = field(default_factory=Usage)
    """The most that requests without a reply yet may use."""

    def __post_init__(self) -> None:
        if self.usd is not None and (self.price_in is None or self.price_out is None):
            raise ConfigError(
                "a budget in USD needs --price-in and --price-out (USD per million tokens); or give --budget-tokens"
            )

    @property
    def limited(self) -> bool:
        """True when there is a limit."""
        return self.tokens is not None or self.usd is not None

    def cost(self, usage: Usage) -> float | None:
        """USD at the full price, or None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return ((usage.input + usage.cached) * self.price_in + usage.output * self.price_out) / 1e6

    def allows(self, more: Usage) -> bool:
        """Whether ``more`` fits on top of what was used and the most that open requests may use."""
        after = self.used + self.under_way + more
        if self.tokens is not None and after.input + after.cached + after.output > self.tokens:
            return False
        cost = self.cost(after)
        return self.usd is None or (cost is not None and cost <= self.usd)

    def reserve(self, most: Usage) -> bool:
        """Reserve the most that a request may use before it is sent; False, reserving nothing, if it does not fit."""
        if not self.allows(most):
            return False
        self.under_way = self.under_way + most
        return True

    def settle(self, most: Usage, real: Usage) -> None:
        """Replace a reservation by the real use."""
        self.under_way = self.under_way + Usage(-most.input, -most.cached, -most.output)
        self.used = self.used + real
