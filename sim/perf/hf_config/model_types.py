"""The table of model types that are understood, and of those that are refused by name.

A row says what a file of that type leaves to its class: whether the MLP is gated, Q, K and V have biases, the head is the
embedding, which layers are which, and which recurrent mixer there is. Sizes are read from the file under any of their
spellings, whatever the type. Source: ``configuration_*`` and ``modeling_*`` of transformers 5.24 and, for types that
publish their own code, that code; every row with a class in transformers is checked against its parameter count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from sim.perf.hf_config import recurrent
from sim.perf.hf_config.facts import Facts
from sim.spec.layers import RecurrentState

Mixer = Callable[[Facts, int], RecurrentState]


@dataclass(frozen=True)
class Family:
    """What the class of a model type does that its files need not say."""

    gated: bool = True
    """The MLP has gate, up and down projections; False = up and down."""
    bias: bool = False
    """Q, K and V have biases unless the file says otherwise."""
    tied: bool = False
    """The head is the embedding unless the file says otherwise."""
    pattern: str = "F"
    """Kinds of the layers where the file lists none, repeated (``sim.perf.hf_config.kinds``); ``FF(SSSF)F`` repeats what is
    in parentheses after the first two layers, and the last is full."""
    dense_first: int = 0
    """First layers that are no mixtures where the file says nothing of it."""
    needs_flag: bool = False
    """A window counts with ``use_sliding_window: true`` only."""
    attention: Literal["grouped", "latent", "compressed"] = "grouped"
    gated_attention: bool = False
    """An output gate of Q's width is computed beside Q."""
    mixer: Mixer | None = None
    """Of recurrent layers."""
    one_thing_a_layer: bool = False
    """A layer mixes or feeds forward, never both (Nemotron-H)."""
    beside: Literal["", "mlp", "residual"] = ""
    """Mixtures have a dense MLP beside their experts: of the stated width, or a residual one in every layer (Arctic)."""
    halved: bool = False
    """``intermediate_size`` counts gate and up together (Qwen 1)."""
    shared: int = 0
    """Experts that every token passes where the file says nothing of them."""
    first: int = 0
    """The number that the file's lists of layers begin with."""
    norms: int = 2
    positions: bool = False
    """Learned position embeddings."""
    routed_from: str = ""
    """Key that turns the experts on; without it the experts of the file are unused."""


_F = Family()
_BIASED = Family(bias=True)
_LATENT = Family(attention="latent")
_GPT = Family(gated=False, bias=True, positions=True)
_WINDOWED = Family(pattern="S")
_QWEN2 = Family(bias=True, pattern="Q", needs_flag=True)
_QWEN3 = Family(pattern="Q", needs_flag=True)
_QWEN_HYBRID = Family(pattern="RRRF", mixer=recurrent.gated_delta, gated_attention=True)
_MIMO = Family(pattern="FSSSSF(SSSSSF)", dense_first=1)
_GEMMA = Family(tied=True, norms=4)
_COHERE = Family(tied=True, norms=1)

FAMILIES: dict[str, Family] = {
    # Llama's spelling, dense or mixture
    "llama": _F, "arcee": Family(gated=False), "aria_text": _F, "apertus": Family(gated=False), "bitnet": _F,
    "codellama": _F,
    "cwm": Family(pattern="FSSS"), "deepseek": _F, "diffllama": _F, "dots1": _F, "doge": Family(routed_from="is_moe"),
    "ernie4_5": Family(tied=True), "ernie4_5_moe": Family(tied=True), "ernie4_5_vl_moe_text": Family(tied=True),
    "exaone": _F,
    "exaone4": Family(pattern="SSSF"), "exaone_moe": Family(pattern="SSSF"), "flex_olmo": _F, "glm": Family(bias=True),
    "glm4": Family(norms=4), "glm4_moe": _F, "glm4v_text": Family(bias=True, norms=4), "glm4v_moe_text": _F,
    "glm_ocr_text": Family(norms=4),
    "granite": _F, "granite_swa": Family(tied=True, pattern="FSSS"), "granitemoe": _F, "granitemoeshared": _F,
    "granitemoe_swa": Family(pattern="FSSS"), "helium": _F, "hunyuan_v1_dense": _F, "hunyuan_v1_moe": _F,
    "hy_v3": Family(dense_first=1),
    "hyperclovax": _F, "internlm": _F, "internlm2": _F, "internlm3": _F, "iquestcoder": _F,
    "jais2": Family(gated=False, bias=True),
    "laguna": Family(dense_first=1), "mellum": _F, "minicpm": _F, "ministral": _WINDOWED, "ministral3": _F,
    "mistral": _WINDOWED,
    "mixtral": _WINDOWED, "minimax_m2": _F, "nanochat": Family(gated=False), "nemotron": Family(gated=False),
    "olmo": Family(norms=0),
    "olmo2": _F, "olmo3": Family(pattern="SSSF"), "olmoe": _F, "orion": _F, "param2moe": _F, "pangu_embedded": _BIASED,
    "persimmon": Family(gated=False, bias=True), "phi3": _WINDOWED, "phimoe": Family(pattern="S", bias=True),
    "phi4_multimodal": _WINDOWED,
    "sarvam_moe": _F, "seed_oss": _BIASED, "smollm3": Family(tied=True, needs_flag=True), "solar": _F, "solar_open": _F,
    "stablelm": _F, "stablelm_epoch": _F, "starcoder2": Family(gated=False, bias=True, tied=True, pattern="S"), "step1": _F,
    "teleflm": _F, "telechat": _F, "telechat3": _F, "yi": _F, "baichuan": _F, "skywork": _F,
    "plamo3": Family(pattern="SSSSSSSF"),
    "afmoe": Family(pattern="SSSF", gated_attention=True, norms=4),
    "beam": Family(pattern="(SSSSSF)F", dense_first=3, gated_attention=True),
    "cohere2_moe": Family(tied=True, norms=1, pattern="SSSF"),
    "flint": Family(pattern="FF(SSSF)F", dense_first=2), "kolibri1": Family(pattern="SSSSF"),
    "grok-1": Family(norms=4), "dbrx": Family(),
    "snowflake_arctic": Family(beside="residual"), "arctic": Family(beside="residual"), "pangu_pro_moe": _BIASED,
    "ouro": Family(norms=4), "xverse": _F, "aquila": _F, "bailing_moe": _F, "bailing_moe_v2": _F, "ling": _F,
    "grin_moe": Family(pattern="S", bias=True),
    # Qwen
    "qwen": Family(bias=True, halved=True), "qwen2": _QWEN2, "qwen2_moe": _QWEN2, "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_5_omni_text": _QWEN2, "qwen3": _QWEN3, "qwen3_moe": _QWEN3, "qwen3_vl_text": _F, "qwen3_vl_moe_text": _F,
    "qwen3_omni_moe_text": _F, "mimo": Family(bias=True, pattern="Q", needs_flag=True), "dots_ocr": _QWEN2, "dream": _QWEN2,
    # GPT's and other early spellings
    "gpt2": replace(_GPT, tied=True), "gpt_bigcode": replace(_GPT, tied=True), "gptj": Family(gated=False, norms=1),
    "codegen": Family(gated=False, norms=1),
    "gpt_neo": replace(_GPT, tied=True, bias=False, pattern="FS"), "gpt_neox": Family(gated=False, bias=True),
    "opt": replace(_GPT, tied=True),
    "bloom": Family(gated=False, bias=True, tied=True), "falcon": Family(gated=False, tied=True),
    "RefinedWeb": Family(gated=False, tied=True),
    "RefinedWebModel": Family(gated=False, tied=True), "mpt": Family(gated=False, tied=True),
    "phi": Family(gated=False, bias=True, norms=1),
    "chatglm": Family(bias=True), "biogpt": replace(_GPT, tied=True), "xglm": Family(gated=False, bias=True, tied=True),
    "jais": Family(bias=True, tied=True),
    # Gemma and Cohere
    "gemma": Family(tied=True), "gemma2": replace(_GEMMA, pattern="SF"), "gemma3": replace(_GEMMA, pattern="SSSSSF"),
    "gemma3_text": replace(_GEMMA, pattern="SSSSSF"), "gemma3n_text": replace(_GEMMA, pattern="SSSSF"),
    "gemma4_text": replace(_GEMMA, pattern="SSSSSF", beside="mlp", routed_from="enable_moe_block"),
    "gemma4_unified_text": replace(_GEMMA, pattern="SSSSSF"), "vaultgemma": Family(tied=True, pattern="SF"),
    "cohere": _COHERE, "cohere2": replace(_COHERE, pattern="SSSF"),
    # several attentions
    "gpt_oss": Family(bias=True, pattern="SF"), "llama4_text": Family(pattern="CCCF", shared=1), "mllama_text_model": _F,
    "mimo_v2_flash": _MIMO, "mimo_v2": _MIMO, "step3p5": Family(pattern="FSSS"),
    "step3p7": Family(pattern="FSSS"),
    "step3p7_text": Family(pattern="FSSS"), "minimax_m3": _F, "minimax_m3_vl_text": _F,
    # latent attention
    "deepseek_v2": _LATENT, "deepseek_v3": _LATENT, "deepseek_v32": replace(_LATENT, pattern="I"), "kimi_k2": _LATENT,
    "glm4_moe_lite": replace(_LATENT, dense_first=1),
    "glm_moe_dsa": replace(_LATENT, pattern="I"), "minicpm3": replace(_LATENT, tied=True), "mistral4": _LATENT,
    "mistral_large4_text": replace(_LATENT, pattern="I", dense_first=1),
    "axk1": replace(_LATENT, dense_first=1),
    "sarvam_mla": _LATENT, "youtu": replace(_LATENT, tied=True), "youtu_llm": replace(_LATENT, tied=True),
    "pangu_ultra_moe": _LATENT,
    "longcat_flash": _LATENT,
    # a window beside compressed entries
    "deepseek_v4": Family(attention="compressed"),
    # recurrent layers, alone or beside attention
    "mamba": Family(tied=True, mixer=recurrent.mamba1, pattern="R", norms=1),
    "mamba2": Family(mixer=recurrent.mamba2, pattern="R", norms=1),
    "falcon_mamba": Family(tied=True, mixer=recurrent.mamba1, pattern="R", norms=1),
    "jamba": Family(mixer=recurrent.mamba1, pattern="R"),
    "bamba": Family(mixer=recurrent.mamba2, pattern="R"), "granitemoehybrid": Family(mixer=recurrent.mamba2, pattern="R"),
    "falcon_h1": Family(mixer=recurrent.mamba2, pattern="B"),
    "nemotron_h": Family(gated=False, mixer=recurrent.mamba2, one_thing_a_layer=True, norms=1),
    "nemotron_h_puzzle": Family(gated=False, mixer=recurrent.mamba2, one_thing_a_layer=True, norms=1),
    "qwen3_next": _QWEN_HYBRID, "qwen3_5_text": _QWEN_HYBRID, "qwen3_5_moe_text": _QWEN_HYBRID,
    "olmo_hybrid": Family(mixer=recurrent.gated_delta, pattern="RRRF"),
    "kimi_linear": replace(_LATENT, mixer=recurrent.kda, pattern="R(RRRF)", first=1, dense_first=1),
    "bailing_hybrid": replace(_LATENT, mixer=recurrent.kda_full_gates, pattern="RRRRRF"),
    "minimax": Family(mixer=recurrent.lightning, pattern="FR"),
    "minimax_m1": Family(mixer=recurrent.lightning), "minimax_text_01": Family(mixer=recurrent.lightning),
    "lfm2": Family(tied=True, mixer=recurrent.short_conv, pattern="F"),
    "lfm2_moe": Family(tied=True, mixer=recurrent.short_conv, pattern="F"),
    "recurrent_gemma": Family(tied=True, halved=True, mixer=recurrent.rg_lru, pattern="RRS"), "nemotron-nas": _F,
    "decilm": _F,
}  # fmt: skip

COMPOSED = {
    "mistral_large4", "llava", "llava_next", "llava_next_video", "llava_onevision", "llava_onevision2", "mistral3",
    "paligemma", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "mllama", "llama4", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5", "qwen3_5_moe", "qwen2_5_omni", "qwen2_5_omni_thinker", "qwen3_omni_moe", "qwen3_omni_moe_thinker",
    "qwen2_audio", "internvl",
    "internvl_chat", "interns1", "deepseek_vl_v2", "deepseek_vl", "kimi_k25", "kimi_vl", "glm4v", "glm4v_moe", "glm46v",
    "glm_ocr", "aya_vision",
    "cohere2_vision", "idefics3", "smolvlm", "aria", "ernie4_5_vl_moe", "ernie4_5_moe_vl", "minimax_m3_vl", "step3p7",
    "voxtral",
    "ultravox", "granite_speech", "granite4_vision", "lfm2_vl", "nemotron_h_omni", "nvlm_d", "h2ovl_chat", "skywork_chat",
    "keye",
    "hyperclovax_vision_v2", "exaone4_5", "lighton_ocr", "phi4mm", "minicpmv", "minicpmo",
    "llama_nemotron_nano_vl", "nemotron_nano_vl",
}  # fmt: skip
"""Types whose language model is a configuration within theirs; its own type is read."""
_TEXT_OF = {
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "gemma3": "gemma3_text", "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "llama4": "llama4_text", "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text", "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text", "mllama": "mllama_text_model", "mistral3": "mistral", "llava": "llama",
    "mistral_large4": "mistral_large4_text",
    "deepseek_vl_v2": "deepseek_v2",
    "step3p7": "step3p7", "kimi_k25": "kimi_k2", "kimi_vl": "deepseek_v3", "ernie4_5_moe_vl": "ernie4_5_vl_moe_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
    "glm4v": "glm4v_text", "glm4v_moe": "glm4v_moe_text", "internvl": "qwen2", "internvl_chat": "qwen2", "idefics3": "llama",
    "paligemma": "gemma",
}  # fmt: skip
"""What a composed type's language model is where it does not say."""

_REASONS: dict[str, tuple[str, ...]] = {
    "an encoder: it generates no tokens": (
        "bert", "roberta", "xlm-roberta", "modernbert", "deberta", "deberta-v2", "distilbert", "electra", "albert",
        "mpnet", "nomic_bert", "camembert", "longformer", "big_bird", "ernie", "esm", "new", "gte", "eurobert",
        "jina_embeddings_v3", "xlnet", "xlm", "squeezebert", "mobilebert", "funnel", "convbert", "megatron-bert",
        "nystromformer", "reformer", "rembert", "roformer", "yoso", "ibert", "luke", "neobert",
    ),
    "an encoder-decoder: its cross-attention cache and encoder pass are not modelled": (
        "t5", "mt5", "umt5", "longt5", "bart", "mbart", "pegasus", "marian", "m2m_100", "nllb-moe", "blenderbot", "led",
        "prophetnet", "switch_transformers", "whisper", "speech_to_text", "moonshine", "seamless_m4t", "t5gemma",
        "t5gemma2", "encoder-decoder", "vision-encoder-decoder", "fsmt", "mvp", "plbart", "bigbird_pegasus", "florence2",
        "pix2struct", "udop", "donut-swin", "nougat", "trocr", "musicgen", "bark", "speecht5", "cohere_asr",
    ),
    "a tower alone: it generates no tokens": (
        "clip", "siglip", "siglip2", "vit", "dinov2", "deit", "swin", "beit", "convnext", "resnet", "sam", "clap",
        "wav2vec2", "hubert", "wavlm", "align", "blip", "chinese_clip", "owlvit", "detr", "mask2former", "segformer",
        "layoutlm", "layoutlmv3", "vitmatte", "depth_anything", "audio-spectrogram-transformer",
    ),
    "a diffusion model: it does not generate token by token": (
        "stable-diffusion", "flux", "sd3", "qwen_image", "wan", "hunyuan_video", "dit", "pixart", "unet", "vae",
        "diffusion_gemma", "sdar", "sdar_moe", "llada", "llada_moe", "llada2_moe", "block_diffusion", "cosmos3_omni",
        "bagel",
    ),
    "n-gram memory (Engram) and caches that layers share are not modelled": (
        "deepseek_v41",
    ),
    "xLSTM layers are not modelled": (
        "xlstm",
    ),
    "RWKV layers are not modelled": (
        "rwkv", "rwkv5", "rwkv6", "rwkv7",
    ),
    "a block shared by several depths is not modelled": (
        "zamba", "zamba2",
    ),
    "byte-level patches are not modelled": (
        "blt",
    ),
    "mixtures of attention heads are not modelled": (
        "jetmoe",
    ),
    "its relative and convolved attention is not modelled": (
        "inkling_text", "inkling2_text",
    ),
    "hyper-connections and n-gram embeddings are not modelled": (
        "qwen4_exp_text",
    ),
    "its compressed convolutional attention is not modelled": (
        "zaya",
    ),
    "layers that run several times are not modelled": (
        "hrm_text", "dory", "iquestloopcoder",
    ),
    "CTRL is not modelled": (
        "ctrl",
    ),
    "CPM-Ant is not modelled": (
        "cpmant",
    ),
    "GPT-1 is not modelled": (
        "openai-gpt",
    ),
    "its linear attention is not modelled": (
        "bailing_moe_linear",
    ),
    "its gated norms and index are not modelled": (
        "axk2",
    ),
    "layers with latent attention of different sizes are not modelled": (
        "dots3_note_text",
    ),
    "hyper-connections are not modelled": (
        "hy_v4",
    ),
    "its sandwich of norms and gates is not modelled": (
        "lfm3",
    ),
    "its sliding linear hybrid is not modelled": (
        "lara_mini",
    ),
}  # fmt: skip
REFUSED = {kind: reason for reason, kinds in _REASONS.items() for kind in kinds}
"""Model types that are refused, and why."""


def family_of(kind: str) -> Family | None:
    """The row of ``kind``, or None."""
    return FAMILIES.get(kind)


def nearest(kind: str) -> str:
    """The understood type whose name is nearest."""
    known = sorted({*FAMILIES, *COMPOSED})
    found = get_close_matches(kind, known, n=1, cutoff=0.4)
    return found[0] if found else "llama"


def text_type(composed: str) -> str:
    """The type of a composed model's language model where it does not say."""
    return _TEXT_OF.get(composed, "llama")
