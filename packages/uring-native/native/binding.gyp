{
  'targets': [
    {
      'target_name': 'holt_native',
      'sources': [
        'addon.cc',
        'blocking.cc',
        'crc32c.cc',
        'env_state.cc',
        'fault_table.cc',
        'huge_pages.cc',
        'log_thread.cc',
        'mapping.cc',
        'memory_pin.cc',
        'old_systems.cc',
        'ring.cc',
        'ring_binding.cc',
        'sealed_copy.cc',
      ],
      'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")"],
      'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS', '_GNU_SOURCE'],
      'cflags_cc!': ['-std=gnu++14', '-std=gnu++20', '-std=c++20'],
      'cflags_cc': ['-std=c++17', '-O2', '-Wall', '-Wextra', '-fvisibility=hidden'],
      'variables': { 'sanitize%': "<!(node -p \"process.env.HOLT_NATIVE_SANITIZE || ''\")" },
      'conditions': [
        ['sanitize=="address"', {
          'cflags_cc': ['-fsanitize=address', '-fno-omit-frame-pointer', '-g'],
          'ldflags': ['-fsanitize=address'],
        }],
      ],
    },
  ],
}
