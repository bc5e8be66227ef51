"""Encoders: networks that read a state and give scalars and vectors."""

from protgen.encoders.base import Encoder as Encoder
from protgen.encoders.base import ImageShape as ImageShape
from protgen.encoders.base import Incremental as Incremental
from protgen.encoders.base import Memory as Memory
from protgen.encoders.egnn import EGNNEncoder as EGNNEncoder
from protgen.encoders.frame_attention import FrameAttentionEncoder as FrameAttentionEncoder
from protgen.encoders.frame_transformer import FrameTransformerEncoder as FrameTransformerEncoder
from protgen.encoders.gvp import GVPEncoder as GVPEncoder
from protgen.encoders.perceptron import PerceptronEncoder as PerceptronEncoder
from protgen.encoders.pixelcnn import PixelCNNEncoder as PixelCNNEncoder
from protgen.encoders.pyg import PyGEncoder as PyGEncoder
from protgen.encoders.tensor_field import TensorFieldEncoder as TensorFieldEncoder
from protgen.encoders.transformer import TransformerEncoder as TransformerEncoder
from protgen.encoders.unet import UNetEncoder as UNetEncoder
