# SPDX-License-Identifier: Apache-2.0
"""Writes small SavedModels of every kind, with the values TensorFlow reads from their variables.

Usage: make_fixtures.py OUT_DIR

OUT_DIR/<name>/               a SavedModel
OUT_DIR/<name>.expected.json  tags, and for each variable node of the main graph: name, dtype, shape, file of raw bytes
OUT_DIR/sharded*              a checkpoint of two shards, with sharded.expected.json
OUT_DIR/done                  written last: a run that was cut off starts again
"""
import json
import os
import shutil
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import keras
import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.ops import gen_resource_variable_ops

v1 = tf.compat.v1
OUT = sys.argv[1]
L = keras.layers


def path(name):
  return os.path.join(OUT, name)


def write_value(stem, value):
  file = stem + '.bin'
  with open(path(file), 'wb') as f:
    f.write(np.ascontiguousarray(value).tobytes())
  return file


def expect(name, tags=('serve',)):
  """Reads every variable node of the main graph through a session and writes what it holds."""
  rows = []
  with tf.Graph().as_default() as graph, v1.Session() as session:
    v1.saved_model.load(session, list(tags), path(name))
    for op in graph.get_operations():
      if op.type not in ('VarHandleOp', 'VariableV2'):
        continue
      dtype = op.get_attr('dtype')
      if dtype == tf.string:
        continue
      out = op.outputs[0]
      tensor = out if op.type == 'VariableV2' else gen_resource_variable_ops.read_variable_op(out, dtype)
      try:
        value = session.run(tensor)
      except tf.errors.FailedPreconditionError:
        continue  # Keras stores every variable twice; one of the two nodes is not restored
      rows.append(dict(name=op.name, dtype=dtype.base_dtype.name, shape=list(value.shape),
                       file=write_value('%s.%d' % (name, len(rows)), value)))
  with open(path(name + '.expected.json'), 'w') as f:
    json.dump(dict(tags=sorted(tags), variables=rows), f, indent=1)


def small_cnn(k):
  return k.Sequential([k.layers.Input((8, 8, 3)), k.layers.Conv2D(4, 3, name='c'), k.layers.BatchNormalization(name='n'),
                       k.layers.ReLU(), k.layers.Flatten(), k.layers.Dense(5, name='d')])


def keras3_export():
  small_cnn(keras).export(path('keras3_export'), format='tf_saved_model', verbose=False)


def keras3_saved():
  tf.saved_model.save(small_cnn(keras), path('keras3_saved'))


def keras2():
  tf.saved_model.save(small_cnn(tf_keras), path('keras2'))


class Loop(tf.Module):
  """Nested functions, a while loop, a counter that the signature writes, a variable that only a loop body writes."""

  def __init__(self):
    super().__init__()
    self.w = tf.Variable(tf.random.normal([3, 3]), name='w')
    self.calls = tf.Variable(0, name='calls')
    self.seen = tf.Variable(0., name='seen')
    self.offset = tf.constant(np.arange(3, dtype=np.float32))

  @tf.function
  def inner(self, x):
    return tf.tanh(x @ self.w) + self.offset

  @tf.function
  def middle(self, x):
    return self.inner(x) + self.inner(x * 2.)

  @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name='x')])
  def step(self, x):
    self.calls.assign_add(1)
    for _ in tf.range(3):
      x = self.middle(x)
      self.seen.assign_add(tf.reduce_sum(x))
    return {'y': x, 'calls': self.calls.read_value(), 'seen': self.seen.read_value()}

  @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name='x')])
  def once(self, x):
    return {'y': self.middle(x)}


def module_loop():
  m = Loop()
  tf.saved_model.save(m, path('module_loop'), signatures=dict(serving_default=m.step, once=m.once))


def tf1(name, use_resource, partitioner=None):
  with tf.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None, 4], name='x')
    scale = v1.placeholder_with_default(2.0, [], name='scale')
    with v1.variable_scope('m', use_resource=use_resource, partitioner=partitioner):
      w = v1.get_variable('w', [4, 6], initializer=v1.random_normal_initializer(seed=1))
      b = v1.get_variable('b', [6], initializer=v1.random_normal_initializer(seed=2))
    local = v1.get_variable('local', [], initializer=v1.constant_initializer(3.), use_resource=use_resource,
                            collections=[v1.GraphKeys.LOCAL_VARIABLES])
    if partitioner:
      w, b = tf.convert_to_tensor(w), tf.convert_to_tensor(b)
    y = tf.identity(tf.nn.relu(tf.matmul(x, w) + b) * scale + local, name='y')
    session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])
    builder = v1.saved_model.Builder(path(name))
    signature = v1.saved_model.predict_signature_def({'x': x, 'scale': scale}, {'y': y})
    builder.add_meta_graph_and_variables(session, ['serve'], {'serving_default': signature},
                                         main_op=v1.local_variables_initializer(), strip_default_attrs=True)
    builder.add_meta_graph(['gpu', 'serve'], {'other': signature})
    builder.save()


class Table(tf.Module):
  """String preprocessing with a vocabulary file, an embedding, a convolution."""

  def __init__(self):
    super().__init__()
    vocabulary = path('vocabulary.txt')
    with open(vocabulary, 'w') as f:
      f.write('\n'.join(['the', 'quick', 'brown', 'fox']) + '\n')
    self.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                      tf.lookup.TextFileIndex.LINE_NUMBER), 4)
    self.embedding = tf.Variable(tf.random.normal([5, 6]), name='embedding')
    self.filter = tf.Variable(tf.random.normal([3, 6, 2]), name='filter')

  @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.string, name='words')])
  def f(self, words):
    ids = self.table.lookup(tf.strings.lower(words))
    return {'y': tf.nn.conv1d(self.embedding.sparse_read(ids), self.filter, 1, 'SAME')}


def table():
  m = Table()
  tf.saved_model.save(m, path('table'), signatures=m.f)


class Dtypes(tf.Module):

  def __init__(self):
    super().__init__()
    self.all = []
    rng = np.random.default_rng(3)
    for t in (tf.bool, tf.uint8, tf.int8, tf.uint16, tf.int16, tf.uint32, tf.int32, tf.uint64, tf.int64, tf.float16,
              tf.bfloat16, tf.float32, tf.float64, tf.complex64, tf.complex128):
      value = rng.integers(0, 2 if t == tf.bool else 100, [3, 5])
      self.all.append(tf.Variable(tf.cast(value, t), name=t.name, dtype=t))
    self.scalar = tf.Variable(7., name='scalar')
    self.empty = tf.Variable(tf.zeros([0, 3]), name='empty', shape=[0, 3])

  @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name='x')])
  def f(self, x):
    out = {v.name.split(':')[0]: tf.cast(tf.math.real(v) if v.dtype.is_complex else v, tf.float32) + x for v in self.all}
    return dict(out, scalar_out=self.scalar + x, empty_out=self.empty + x)


def dtypes():
  m = Dtypes()
  tf.saved_model.save(m, path('dtypes'), signatures=m.f)


def no_saver():
  """A model whose saver was stripped: variables are found through the object graphs."""
  shutil.copytree(path('keras3_saved'), path('no_saver'))
  file = path('no_saver/saved_model.pb')
  model = saved_model_pb2.SavedModel()
  with open(file, 'rb') as f:
    model.ParseFromString(f.read())
  model.meta_graphs[0].ClearField('saver_def')
  with open(file, 'wb') as f:
    f.write(model.SerializeToString())
  for name in os.listdir(OUT):
    if name.startswith('keras3_saved.'):
      text = open(path(name), 'rb').read().replace(b'keras3_saved.', b'no_saver.')
      open(path(name.replace('keras3_saved', 'no_saver', 1)), 'wb').write(text)


def sharded():
  with tf.Graph().as_default():
    values = {}
    for i in range(4):
      with tf.device('/cpu:%d' % (i % 2)):
        values['v%d' % i] = v1.get_variable('v%d' % i, initializer=np.full([i + 1, 3], i, np.float32), use_resource=False)
    with v1.Session(config=v1.ConfigProto(device_count={'CPU': 2})) as session:
      session.run(v1.global_variables_initializer())
      v1.train.Saver(values, sharded=True).save(session, path('sharded'), write_meta_graph=False, write_state=False)
  rows = [dict(name='v%d' % i, dtype='float32', shape=[i + 1, 3],
               file=write_value('sharded.%d' % i, np.full([i + 1, 3], i, np.float32))) for i in range(4)]
  with open(path('sharded.expected.json'), 'w') as f:
    json.dump(dict(tags=[], variables=rows), f, indent=1)


def main():
  if os.path.exists(path('done')):
    return
  shutil.rmtree(OUT, ignore_errors=True)
  os.makedirs(OUT)
  keras.utils.set_random_seed(1)
  for make in (keras3_export, keras3_saved, keras2, module_loop, table, dtypes):
    make()
    expect(make.__name__)
  no_saver()
  tf1('tf1_ref', False)
  tf1('tf1_resource', True)
  tf1('tf1_partitioned', True, v1.fixed_size_partitioner(3))
  for name in ('tf1_ref', 'tf1_resource', 'tf1_partitioned'):
    expect(name)
  sharded()
  open(path('done'), 'w').close()


main()
