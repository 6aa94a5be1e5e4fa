from prebook.operations.app import SERVICE
from prebook.runtime.serve import main

main(SERVICE)
