#!/usr/bin/env python3
"""Make a random-weight AFMoE (Arcee Trinity) checkpoint, in one pass, as

  OUT/hf/            config.json, generation_config.json, tokenizer.json,
                     tokenizer_config.json, model.safetensors (bf16, HF names;
                     or shards + model.safetensors.index.json with --shard-mb)
  OUT/NAME-TYPE.gguf the same weights as GGUF, arch 'afmoe', one file per
                     --gguf TYPE (f32, f16, bf16, q8_0)

Every tensor is drawn from its own stream (seed + HF tensor name), so its values
do not depend on order, on which outputs are asked for, or on the numpy version.
All values are bf16-representable: HF, f32 and bf16 GGUF hold the *same* numbers;
f16 and q8_0 are rounded from them (q8_0 as ggml's reference quantizer rounds).
Only one row block is in memory at a time.

Needs python3 with numpy (Debian: python3-numpy, run with /usr/bin/python3).

Examples
  make_afmoe.py tiny        --out models/tiny --gguf f32,bf16,q8_0           under 1 s
  make_afmoe.py nano-slice  --out models/nano-slice --gguf bf16,q8_0         about 20 s, 3.6 GB
  make_afmoe.py large-slice --out models/large-slice --gguf bf16,q8_0        minutes, 36 GiB
  make_afmoe.py nano-slice --layers 4 --vocab 200192 --no-hf --out models/wide --gguf q8_0
"""
import argparse, json, math, os, struct, sys, time, zlib
import numpy as np

# ----------------------------------------------------------------- shapes
COMMON = dict(head_dim=128, rms_norm_eps=1e-5, rope_theta=10000.0, num_shared_experts=1,
              route_scale=2.826, global_attn_every_n_layers=4, max_position_embeddings=131072)
SHAPES = {
    # name: hidden, dense ffn, moe ffn, layers, leading dense layers, heads, kv heads, experts, active, window, vocab
    "tiny":        dict(COMMON, hidden_size=64, intermediate_size=128, moe_intermediate_size=32, num_hidden_layers=8,
                        num_dense_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_experts=8,
                        num_experts_per_tok=2, sliding_window=16, vocab_size=512, max_position_embeddings=4096),
    # Trinity-Nano: 56 layers and a vocabulary of 200192 in the real one. 8 layers and 32768 keep
    # about the real share of the output head in the bytes read per token.
    "nano-slice":  dict(COMMON, hidden_size=1024, intermediate_size=3072, moe_intermediate_size=256, num_hidden_layers=8,
                        num_dense_layers=2, num_attention_heads=8, num_key_value_heads=2, num_experts=128,
                        num_experts_per_tok=8, sliding_window=2048, vocab_size=32768),
    "nano":        dict(COMMON, hidden_size=1024, intermediate_size=3072, moe_intermediate_size=256, num_hidden_layers=56,
                        num_dense_layers=2, num_attention_heads=8, num_key_value_heads=2, num_experts=128,
                        num_experts_per_tok=8, sliding_window=2048, vocab_size=200192),
    "mini-slice":  dict(COMMON, hidden_size=2048, intermediate_size=6144, moe_intermediate_size=1024, num_hidden_layers=3,
                        num_dense_layers=2, num_attention_heads=32, num_key_value_heads=4, num_experts=128,
                        num_experts_per_tok=8, sliding_window=2048, vocab_size=16384),
    # Trinity Large: 60 layers, 6 of them dense, and a vocabulary of 200192 in the real one.
    # One MoE layer is 7.25e9 weights (14.5 GB in bf16).
    "large-slice": dict(COMMON, hidden_size=3072, intermediate_size=12288, moe_intermediate_size=3072, num_hidden_layers=2,
                        num_dense_layers=1, num_attention_heads=48, num_key_value_heads=8, num_experts=256,
                        num_experts_per_tok=4, sliding_window=4096, vocab_size=8192, route_scale=2.448),
}

# ----------------------------------------------------------------- random bf16
def f32_to_bf16(x):
    """round-to-nearest-even f32 -> bf16 bits (uint16)"""
    u = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)

def bf16_to_f32(b):
    return (b.astype(np.uint32) << np.uint32(16)).view(np.float32)

def _ndtri(p):
    """inverse normal CDF (Acklam), vectorised; only used to build a 65536-entry table"""
    a = [-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01, 2.506628277459239e+00]
    b = [-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01]
    c = [-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00]
    d = [7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00]
    q = np.minimum(p, 1 - p)
    lo = q < 0.02425
    t = np.sqrt(-2 * np.log(q))
    tail = (((((c[0]*t+c[1])*t+c[2])*t+c[3])*t+c[4])*t+c[5]) / ((((d[0]*t+d[1])*t+d[2])*t+d[3])*t+1)
    r = q - 0.5; s = r * r
    mid = (((((a[0]*s+a[1])*s+a[2])*s+a[3])*s+a[4])*s+a[5])*r / (((((b[0]*s+b[1])*s+b[2])*s+b[3])*s+b[4])*s+1)
    v = np.where(lo, tail, mid)
    return np.where(p > 0.5, -v, v)

_NORMAL = _ndtri((np.arange(65536) + 0.5) / 65536.0)     # float64 standard normal quantiles
_tables = {}
def normal_table(std, mean=0.0):
    k = (std, mean)
    if k not in _tables:
        _tables[k] = f32_to_bf16((_NORMAL * std + mean).astype(np.float32))
    return _tables[k]

def draw(seed, name, n, std, mean):
    """n bf16 values (uint16 bits) of tensor `name`"""
    bg = np.random.SFC64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    raw = bg.random_raw((n + 3) // 4)
    return normal_table(std, mean)[raw.astype("<u8", copy=False).view("<u2")[:n]]

# ----------------------------------------------------------------- the tensors
def tensors(c):
    """yield (hf_name, hf_shape, hf_dtype, gguf_name, expert_index|None, always_f32, std, mean)"""
    H, V, D = c["hidden_size"], c["vocab_size"], c["head_dim"]
    nq, nkv, L = c["num_attention_heads"], c["num_key_value_heads"], c["num_hidden_layers"]
    F, M, E, S = c["intermediate_size"], c["moe_intermediate_size"], c["num_experts"], c["num_shared_experts"]
    lin = lambda fan_in: 1.0 / math.sqrt(fan_in)
    post = 1.0 / math.sqrt(2.0 * L) if L > 4 else 0.35      # depth-scaled sandwich norm
    yield "model.embed_tokens.weight", (V, H), "BF16", "token_embd.weight", None, False, lin(H), 0.0
    for i in range(L):
        p, g = f"model.layers.{i}.", f"blk.{i}."
        norm = lambda hf, gg, n, m: (p + hf + ".weight", (n,), "BF16", g + gg + ".weight", None, True, 0.1 * m, m)
        mat = lambda hf, gg, o, k: (p + hf + ".weight", (o, k), "BF16", g + gg + ".weight", None, False, lin(k), 0.0)
        yield norm("input_layernorm", "attn_norm", H, 1.0)
        yield norm("post_attention_layernorm", "post_attention_norm", H, post)
        yield norm("pre_mlp_layernorm", "ffn_norm", H, 1.0)
        yield norm("post_mlp_layernorm", "post_ffw_norm", H, post)
        yield norm("self_attn.q_norm", "attn_q_norm", D, 1.2)
        yield norm("self_attn.k_norm", "attn_k_norm", D, 1.2)
        yield mat("self_attn.q_proj", "attn_q", nq * D, H)
        yield mat("self_attn.k_proj", "attn_k", nkv * D, H)
        yield mat("self_attn.v_proj", "attn_v", nkv * D, H)
        yield mat("self_attn.gate_proj", "attn_gate", nq * D, H)
        yield mat("self_attn.o_proj", "attn_output", H, nq * D)
        if i < c["num_dense_layers"]:
            yield mat("mlp.gate_proj", "ffn_gate", F, H)
            yield mat("mlp.up_proj", "ffn_up", F, H)
            yield mat("mlp.down_proj", "ffn_down", H, F)
            continue
        yield p + "mlp.router.gate.weight", (E, H), "BF16", g + "ffn_gate_inp.weight", None, True, 1.0 * lin(H), 0.0
        # small against the spread of the top scores, or the same few experts win for every token
        yield p + "mlp.expert_bias", (E,), "F32", g + "exp_probs_b.bias", None, True, 0.01 if E >= 64 else 0.05, 0.0
        if S > 0:
            yield mat("mlp.shared_experts.gate_proj", "ffn_gate_shexp", M * S, H)
            yield mat("mlp.shared_experts.up_proj", "ffn_up_shexp", M * S, H)
            yield mat("mlp.shared_experts.down_proj", "ffn_down_shexp", H, M * S)
        for e in range(E):
            for w, o, k in (("gate", M, H), ("up", M, H), ("down", H, M)):
                yield (f"{p}mlp.experts.{e}.{w}_proj.weight", (o, k), "BF16", f"{g}ffn_{w}_exps.weight", e, False, lin(k), 0.0)
    yield "model.norm.weight", (H,), "BF16", "output_norm.weight", None, True, 0.1, 1.0
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (V, H), "BF16", "output.weight", None, False, 2.5 * lin(H), 0.0

# ----------------------------------------------------------------- tokenizer
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

def byte_chars():
    """GPT-2's printable stand-in for each byte"""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, n = {}, 0
    for b in range(256):
        if b in keep: out[b] = chr(b)
        else: out[b] = chr(256 + n); n += 1
    return [out[b] for b in range(256)]

def tokenizer(vocab):
    """5 specials, 256 bytes, then aa..zz, aaa..zzz, aaaa.. as BPE merges until vocab is full"""
    toks = SPECIAL + byte_chars()
    merges = []
    if vocab < len(toks): sys.exit(f"vocab must be at least {len(toks)}")
    az = "abcdefghijklmnopqrstuvwxyz"
    def fill():
        for a in az:
            for b in az: yield a, b
        for a in az:
            for b in az:
                for c in az: yield a + b, c
        for a in az:
            for b in az:
                for c in az:
                    for d in az: yield a + b + c, d
    for l, r in fill():
        if len(toks) == vocab: break
        toks.append(l + r); merges.append((l, r))
    return toks, merges

# ----------------------------------------------------------------- GGUF
T_F32, T_F16, T_Q8_0, T_BF16 = 0, 1, 8, 30
GT = {"f32": (T_F32, 0), "f16": (T_F16, 1), "bf16": (T_BF16, 32), "q8_0": (T_Q8_0, 7)}
def nbytes(t, n): return {T_F32: 4 * n, T_F16: 2 * n, T_BF16: 2 * n, T_Q8_0: n // 32 * 34}[t]

def encode(t, bits):
    if t == T_BF16: return bits
    x = bf16_to_f32(bits)
    if t == T_F32: return x
    if t == T_F16: return x.astype(np.float16)
    x = x.reshape(-1, 32)
    d = np.abs(x).max(axis=1) / np.float32(127)
    inv = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    y = x * inv[:, None]
    out = np.empty((x.shape[0], 34), dtype=np.uint8)
    out[:, :2] = d.astype("<f2")[:, None].view(np.uint8)
    out[:, 2:] = np.trunc(y + np.copysign(np.float32(0.5), y)).astype(np.int8).view(np.uint8)
    return out

class Gguf:
    def __init__(self, path, kind, cfg, name, pre):
        self.kind, self.meta, self.nkv = GT[kind], b"", 0
        self.path, self.tens, self.index, self.off = path, [], {}, 0
        c = cfg; a = "afmoe."
        st, u32, f32, boo = self.kv_str, self.kv_u32, self.kv_f32, self.kv_bool
        st("general.architecture", "afmoe"); st("general.type", "model"); st("general.name", name)
        u32("general.quantization_version", 2); u32("general.file_type", self.kind[1])
        u32(a + "block_count", c["num_hidden_layers"]); u32(a + "context_length", c["max_position_embeddings"])
        u32(a + "embedding_length", c["hidden_size"]); u32(a + "feed_forward_length", c["intermediate_size"])
        u32(a + "attention.head_count", c["num_attention_heads"]); u32(a + "attention.head_count_kv", c["num_key_value_heads"])
        f32(a + "rope.freq_base", c["rope_theta"]); f32(a + "attention.layer_norm_rms_epsilon", c["rms_norm_eps"])
        u32(a + "expert_count", c["num_experts"]); u32(a + "expert_used_count", c["num_experts_per_tok"])
        u32(a + "expert_gating_func", 2)                                   # sigmoid
        u32(a + "attention.key_length", c["head_dim"]); u32(a + "attention.value_length", c["head_dim"])
        u32(a + "vocab_size", c["vocab_size"]); u32(a + "rope.dimension_count", c["head_dim"])
        u32(a + "expert_shared_count", c["num_shared_experts"]); u32(a + "expert_feed_forward_length", c["moe_intermediate_size"])
        u32(a + "leading_dense_block_count", c["num_dense_layers"])
        boo(a + "expert_weights_norm", c["route_norm"]); f32(a + "expert_weights_scale", c["route_scale"])
        u32(a + "attention.sliding_window", c["sliding_window"])
        toks, merges = tokenizer(c["vocab_size"])
        st("tokenizer.ggml.model", "gpt2"); st("tokenizer.ggml.pre", pre)
        self.kv_arr("tokenizer.ggml.tokens", 8, b"".join(self.s(t) for t in toks), len(toks))
        self.kv_arr("tokenizer.ggml.token_type", 5, struct.pack(f"<{len(toks)}i", *([3] * len(SPECIAL) + [1] * (len(toks) - len(SPECIAL)))), len(toks))
        self.kv_arr("tokenizer.ggml.merges", 8, b"".join(self.s(l + " " + r) for l, r in merges), len(merges))
        u32("tokenizer.ggml.bos_token_id", 0); u32("tokenizer.ggml.eos_token_id", 4); u32("tokenizer.ggml.padding_token_id", 2)
        boo("tokenizer.ggml.add_bos_token", True)
        st("tokenizer.chat_template", CHATML)
    @staticmethod
    def s(t): t = t.encode(); return struct.pack("<Q", len(t)) + t
    def kv(self, k, ty, b): self.meta += self.s(k) + struct.pack("<I", ty) + b; self.nkv += 1
    def kv_str(self, k, v): self.kv(k, 8, self.s(v))
    def kv_u32(self, k, v): self.kv(k, 4, struct.pack("<I", v))
    def kv_f32(self, k, v): self.kv(k, 6, struct.pack("<f", v))
    def kv_bool(self, k, v): self.kv(k, 7, struct.pack("<?", v))
    def kv_arr(self, k, ty, b, n): self.kv(k, 9, struct.pack("<IQ", ty, n) + b)
    def plan(self, gname, shape, n_exp, f32):
        if gname in self.index: return
        t = T_F32 if f32 else self.kind[0]
        if t == T_Q8_0 and shape[-1] % 32: t = T_F16
        full = ((n_exp,) + shape) if n_exp else shape
        per = nbytes(t, math.prod(shape))
        self.index[gname] = (t, self.off, per)
        self.tens.append((gname, full, t, self.off))
        self.off += (per * (n_exp or 1) + 31) // 32 * 32
    def open(self):
        info = b"".join(self.s(n) + struct.pack("<I", len(sh)) + struct.pack(f"<{len(sh)}Q", *reversed(sh)) + struct.pack("<IQ", t, o)
                        for n, sh, t, o in self.tens)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tens), self.nkv) + self.meta + info
        self.data = (len(head) + 31) // 32 * 32
        self.f = open(self.path + ".part", "wb"); self.f.write(head)
        self.f.truncate(self.data + self.off)
    def put(self, gname, expert, bits):
        t, off, per = self.index[gname]
        self.f.seek(self.data + off + per * (expert or 0)); encode(t, bits).tofile(self.f)
    def close(self): self.f.close(); os.replace(self.path + ".part", self.path)

# ----------------------------------------------------------------- safetensors
class SafeTensors:
    """one file, or shards of at most shard_bytes with an index"""
    def __init__(self, d, shard_bytes):
        self.d, self.limit, self.files, self.where, self.total = d, shard_bytes, [], {}, 0
    def plan(self, name, shape, dtype):
        n = math.prod(shape) * (4 if dtype == "F32" else 2)
        if not self.files or (self.limit and self.files[-1][1] + n > self.limit and self.files[-1][1]): self.files.append([{}, 0])
        h = self.files[-1]
        h[0][name] = dict(dtype=dtype, shape=list(shape), data_offsets=[h[1], h[1] + n])
        self.where[name] = (len(self.files) - 1, h[1]); h[1] += n; self.total += n
    def open(self):
        k = len(self.files); self.f = []
        self.names = ["model.safetensors"] if k == 1 else [f"model-{i+1:05d}-of-{k:05d}.safetensors" for i in range(k)]
        self.base = []
        for nm, (h, n) in zip(self.names, self.files):
            j = json.dumps(dict(__metadata__={"format": "pt"}, **h), separators=(",", ":")).encode(); j += b" " * (-len(j) % 8)
            f = open(os.path.join(self.d, nm + ".part"), "wb"); f.write(struct.pack("<Q", len(j)) + j); f.truncate(8 + len(j) + n)
            self.f.append(f); self.base.append(8 + len(j))
    def put(self, name, dtype, bits):
        i, off = self.where[name]; f = self.f[i]; f.seek(self.base[i] + off)
        (bf16_to_f32(bits) if dtype == "F32" else bits).tofile(f)
    def close(self):
        for f, nm in zip(self.f, self.names): f.close(); os.replace(os.path.join(self.d, nm + ".part"), os.path.join(self.d, nm))
        if len(self.names) > 1:
            json.dump(dict(metadata=dict(total_size=self.total), weight_map={k: self.names[i] for k, (i, _) in self.where.items()}),
                      open(os.path.join(self.d, "model.safetensors.index.json"), "w"))

def write_hf_text(d, c):
    os.makedirs(d, exist_ok=True)
    L, g = c["num_hidden_layers"], c["global_attn_every_n_layers"]
    cfg = dict(architectures=["AfmoeForCausalLM"], model_type="afmoe", attention_dropout=0.0, dtype="bfloat16", hidden_act="silu",
               initializer_range=0.02, mup_enabled=True, n_group=1, topk_group=1, num_expert_groups=1, num_limited_groups=1,
               rope_scaling=None, score_func="sigmoid", use_cache=True, bos_token_id=0, eos_token_id=4, pad_token_id=2,
               layer_types=["sliding_attention" if (i + 1) % g else "full_attention" for i in range(L)], **c)
    cfg = dict(sorted(cfg.items()))
    json.dump(cfg, open(os.path.join(d, "config.json"), "w"), indent=2)
    json.dump(dict(bos_token_id=0, eos_token_id=4, pad_token_id=2), open(os.path.join(d, "generation_config.json"), "w"), indent=2)
    toks, merges = tokenizer(c["vocab_size"])
    json.dump(dict(version="1.0", truncation=None, padding=None,
                   added_tokens=[dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                                 for i, t in enumerate(SPECIAL)],
                   normalizer=None, pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
                   post_processor=None, decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
                   model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                              fuse_unk=False, byte_fallback=False, ignore_merges=False,
                              vocab={t: i for i, t in enumerate(toks)}, merges=[list(m) for m in merges])),
              open(os.path.join(d, "tokenizer.json"), "w"), ensure_ascii=False)
    json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", add_bos_token=True, bos_token=SPECIAL[0], eos_token=SPECIAL[4],
                   pad_token=SPECIAL[2], model_max_length=c["max_position_embeddings"], chat_template=CHATML),
              open(os.path.join(d, "tokenizer_config.json"), "w"), indent=2)

def report(c):
    H, D, V = c["hidden_size"], c["head_dim"], c["vocab_size"]
    nq, nkv = c["num_attention_heads"], c["num_key_value_heads"]
    attn = 3 * H * nq * D + 2 * H * nkv * D
    dense = 3 * H * c["intermediate_size"]; exp = 3 * H * c["moe_intermediate_size"]
    L, nd = c["num_hidden_layers"], c["num_dense_layers"]; nm = L - nd
    mat = L * attn + nd * dense + nm * exp * (c["num_experts_per_tok"] + c["num_shared_experts"]) + V * H
    tot = L * attn + nd * dense + nm * (exp * (c["num_experts"] + c["num_shared_experts"]) + H * c["num_experts"]) + V * H * (1 if c["tie_word_embeddings"] else 2)
    router = nm * H * c["num_experts"]
    return dict(total_params=tot, active_matmul_params_per_token=mat, router_params=router,
                active_bytes={"bf16": 2 * mat + 4 * router, "f16": 2 * mat + 4 * router, "q8_0": mat * 34 // 32 + 4 * router})

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("shape", choices=SHAPES)
    ap.add_argument("--out", required=True)
    ap.add_argument("--gguf", default="bf16", help="comma list of f32,f16,bf16,q8_0 (empty: none)")
    ap.add_argument("--no-hf", action="store_true", help="write no HF directory")
    ap.add_argument("--shard-mb", type=int, default=0, help="split the safetensors in shards of this size")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--pre", default="gpt-2", help="tokenizer.ggml.pre (gpt-2 is what hf/tokenizer.json does)")
    ap.add_argument("--tied", action="store_true", help="tie_word_embeddings")
    ap.add_argument("--no-route-norm", action="store_true")
    for o, k in (("layers", "num_hidden_layers"), ("dense-layers", "num_dense_layers"), ("experts", "num_experts"), ("active", "num_experts_per_tok"),
                 ("vocab", "vocab_size"), ("window", "sliding_window"), ("shared", "num_shared_experts"), ("hidden", "hidden_size")):
        ap.add_argument("--" + o, dest=k, type=int)
    ap.add_argument("--dry-run", action="store_true", help="print sizes only")
    a = ap.parse_args()
    c = dict(SHAPES[a.shape], tie_word_embeddings=a.tied, route_norm=not a.no_route_norm)
    for k in list(c):
        if getattr(a, k, None) is not None: c[k] = getattr(a, k)
    print(json.dumps(report(c)))
    if a.dry_run: return
    os.makedirs(a.out, exist_ok=True)
    ggs = [Gguf(os.path.join(a.out, f"{a.shape}-{k}.gguf"), k, c, f"random-{a.shape}", a.pre) for k in a.gguf.split(",") if k]
    st = None
    if not a.no_hf:
        d = os.path.join(a.out, "hf"); write_hf_text(d, c); st = SafeTensors(d, a.shard_mb << 20)
    for name, shape, dt, gname, e, f32, _, _ in tensors(c):
        if st: st.plan(name, shape, dt)
        for g in ggs: g.plan(gname, shape, c["num_experts"] if e is not None else 0, f32)
    for o in ggs + ([st] if st else []): o.open()
    t0, done = time.time(), 0
    for name, shape, dt, gname, e, _, std, mean in tensors(c):
        bits = draw(a.seed, name, math.prod(shape), std, mean)
        if st: st.put(name, dt, bits)
        for g in ggs: g.put(gname, e, bits)
        done += bits.size
    for o in ggs + ([st] if st else []): o.close()
    print(f"{done/1e6:.1f}M weights in {time.time()-t0:.1f}s -> {a.out}")

if __name__ == "__main__":
    main()
