"""The transformer of TransUNet: tokens from a feature map, self-attention, tokens out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention. The names of the members are those of the released checkpoints."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix (B, N, width)."""

        def split(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(split(self.query(tokens)), split(self.key(tokens)), split(self.value(tokens)))
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        hidden = self.dropout(functional.gelu(self.fc1(tokens)))
        return self.dropout(self.fc2(hidden))


class Block(nn.Module):
    """Attention and feed-forward layer, each normalised before and added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.ffn_norm = nn.LayerNorm(width, eps=1e-6)
        self.ffn = FeedForward(width, hidden, dropout)
        self.attn = Attention(width, heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        tokens = tokens + self.attn(self.attention_norm(tokens))
        return tokens + self.ffn(self.ffn_norm(tokens))


class Encoder(nn.Module):
    """A stack of blocks and a last norm."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        for block in self.layer:
            tokens = block(tokens)
        return self.encoder_norm(tokens)


class Embeddings(nn.Module):
    """The hybrid front and what makes tokens of its features.

    Parameters
    ----------
    backbone
        Gives features and skips of an image.
    channels
        Of its features.
    width
        Of a token.
    grid
        Rows and columns of tokens that the position table is made for.
    dropout
        Share of the token values set to zero in training.
    """

    def __init__(self, backbone: nn.Module, channels: int, width: int, grid: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.hybrid_model = backbone
        self.patch_embeddings = nn.Conv2d(channels, width, 1)
        self.position_embeddings = nn.Parameter(torch.zeros(1, grid[0] * grid[1], width))
        self.dropout = nn.Dropout(dropout)
        self.grid = grid

    def start_with_sines(self) -> None:
        """Fill the position table with sines and cosines of row and column (Vaswani et al. 2017, in two dimensions).

        From zeros, as released, a network without pretrained weights must first learn what lies beside what.
        """
        rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in self.grid), indexing="ij")
        quarter = self.position_embeddings.shape[2] // 4
        rates = 100.0 ** -(torch.arange(quarter) / quarter)
        angles = torch.cat([rows.reshape(-1, 1) * rates, columns.reshape(-1, 1) * rates], dim=1)
        table = torch.cat([angles.sin(), angles.cos()], dim=1)
        with torch.no_grad():
            self.position_embeddings[0, :, : table.shape[1]] = table

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor], tuple[int, int]]:
        """Tokens (B, rows * columns, width), skips, and the grid (rows, columns) of an image (B, C, H, W)."""
        features, skips = self.hybrid_model(image)
        embedded = self.patch_embeddings(features)
        rows, columns = embedded.shape[2:]
        tokens = embedded.flatten(2).transpose(1, 2) + self._positions(rows, columns)
        return self.dropout(tokens), skips, (rows, columns)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Position table (1, rows * columns, width), resized linearly (as released) when the image has another size than trained at."""
        if (rows, columns) == self.grid:
            return self.position_embeddings
        table = self.position_embeddings.transpose(1, 2).unflatten(2, self.grid)
        return functional.interpolate(table, (rows, columns), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    """Embeddings and encoder."""

    def __init__(self, embeddings: Embeddings, encoder: Encoder) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encoded feature map (B, width, H / 16, W / 16) and the skips of an image (B, C, H, W)."""
        tokens, skips, grid = self.embeddings(image)
        return self.encoder(tokens).transpose(1, 2).unflatten(2, grid), skips
