# SPDX-License-Identifier: Apache-2.0
"""Writes src/saved_model/builtin_ops.inc: OpDefs that SavedModels of old TensorFlow versions do not carry.

Usage: make_builtin_ops.py > src/saved_model/builtin_ops.inc
"""
import re

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session as c_api

# Families that a model to be served does not hold, or that cannot be converted anyway.
SKIPPED = re.compile(
    r'^_|Dataset|TPU|Tpu|Xla|XLA|Collective|Grad$|GradV\d$|Grad(Grad|Input|Filter|Eager|With|WithArgmax)|^Resource(Sparse)?Apply'
    r'|^(Sparse)?Apply|Summary|Experimental|Boosted|Debug|Barrier|Reader|Queue|Stack(V2|Push|Pop|Close)|Iterator'
    r'|Accumulator|Nccl|Mkl|Fake(Queue|Param)|Infeed|Outfeed|Load|Retrieve|Embedding|Ragged.*Variant|Stage|Unstage'
    r'|Wav|Audio|Mfcc|Sdca|Rpc|Remote|Cudnn|Encode|Kmeans|KMC2|Tridiagonal|Risc|Uniform(Quant|Dequant|Req)|Conditional'
    r'|Delete|Lookahead|Optional|Random(Gamma|Poisson)|Stochastic|Multi(Device)|Thread|Ordered|Unbatch|Batch(Function|IFFT|FFT)'
    r'|^Decode(Raw|CSV|Proto|Wav|Padded|Comp)|Locality|Fingerprint|Candidate|Sampler|Ctc|CTC|Skipgram|NegTrain|Dawsn|Bessel'
    r'|Fact|Copy|Sync|Eig|Svd|Schur|Qr|Cholesky|Lu$|Matrix(Exp|Log|Solve|Square|Tri)|Save(Slices)?$|Restore(Slice)?$'
    r'|Incarnation|Weighted|Tensor(Array(?!V3|.*V3)|Forest)|GRU|LSTM|Ftrl|Adagrad|Momentum|Strong|Data(Format)?Service|Dist'
    r'|Sobol|Scatter.*(Max|Min)$|Isotonic|Periodic|Non(Max|max)Suppression(V2)?$|Abort|Host|Py(Func|Call)|Eager|RFFT|FFT|Window'
    r'|AllToAll|Ann|ApproxTop|Approximate|Configure|Connect|Shutdown|Initialize(Tpu|TPU)|Is(Tpu|TPU)|Merge(Dedup|Summary)'
    r'|Set(Size|Static)|DenseTo|SparseTo(Sparse)|Sparse(Cross|Fill|Conc|Acc|Spl|Mat|Res|Slice|Soft|Add|Reo|Dense|Tensor)')


def args(defs):
  out = []
  for a in defs:
    if a.type_list_attr:
      t = '@' + a.type_list_attr
    else:
      t = '$' + a.type_attr if a.type_attr else tf.dtypes.as_dtype(a.type).name
      if a.number_attr:
        t = a.number_attr + '*' + t
    out.append(a.name + ':' + ('&' if a.is_ref else '') + t)
  return ' '.join(out)


def default(attr):
  v = attr.default_value
  if attr.type == 'int':
    return str(v.i)
  if attr.type == 'bool':
    return 'true' if v.b else 'false'
  if attr.type == 'type':
    return tf.dtypes.as_dtype(v.type).name
  return '#' + v.SerializeToString(deterministic=True).hex()


def main():
  buf = c_api.TF_GetAllOpList()
  ops = op_def_pb2.OpList()
  ops.ParseFromString(c_api.TF_GetBuffer(buf))
  print('// Written by tests/make_builtin_ops.py; do not edit.')
  for op in sorted(ops.op, key=lambda o: o.name):
    if not hasattr(tf.raw_ops, op.name) or SKIPPED.search(op.name):
      continue
    try:
      attrs = ' '.join(a.name + ':' + a.type + ('=' + default(a) if a.HasField('default_value') else '') for a in op.attr)
      line = '|'.join([op.name, args(op.input_arg), args(op.output_arg), attrs, 'stateful' if op.is_stateful else ''])
    except TypeError:
      continue  # an element type this TensorFlow has no name for
    if re.search(r'q?u?int[24]\b|qu?int|float8|float4', line):
      continue
    print('    R"(%s)",' % line)


if __name__ == '__main__':
  main()
