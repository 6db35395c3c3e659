"""What a judge's run may use, in tokens or in money."""

from dataclasses import dataclass, field

from saeeval_core.errors import ConfigError


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply, or summed over several."""

    input: int = 0
    """Charged in full (writing the prompt cache included)."""
    cached: int = 0
    """Read from the prompt cache; budgets count them in full, so they are never overrun."""
    output: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input + other.input, self.cached + other.cached, self.output + other.output)


@dataclass
class Budget:
    """Money needs both prices (USD per million tokens), which only the user knows: none is built in."""

    tokens: int | None = None
    usd: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    used: Usage = field(default_factory=Usage)
    under_way: Usage = field(default_factory=Usage)
    """The most that requests not yet answered may use."""

    def __post_init__(self) -> None:
        if self.usd is not None and (self.price_in is None or self.price_out is None):
            raise ConfigError(
                "a budget in USD needs --price-in and --price-out (USD per million tokens); or give --budget-tokens"
            )

    @property
    def limited(self) -> bool:
        """True when there is a limit to keep."""
        return self.tokens is not None or self.usd is not None

    def cost(self, usage: Usage) -> float | None:
        """USD at the full price, or None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return ((usage.input + usage.cached) * self.price_in + usage.output * self.price_out) / 1e6

    def allows(self, more: Usage) -> bool:
        """Whether ``more`` fits on top of what was used and of what is under way at its most."""
        after = self.used + self.under_way + more
        if self.tokens is not None and after.input + after.cached + after.output > self.tokens:
            return False
        cost = self.cost(after)
        return self.usd is None or (cost is not None and cost <= self.usd)

    def reserve(self, most: Usage) -> bool:
        """Count a request about to be sent at its most; False (and nothing counted) if it does not fit."""
        if not self.allows(most):
            return False
        self.under_way = self.under_way + most
        return True

    def settle(self, most: Usage, real: Usage) -> None:
        """Replace a reservation by what was really used."""
        self.under_way = self.under_way + Usage(-most.input, -most.cached, -most.output)
        self.used = self.used + real
