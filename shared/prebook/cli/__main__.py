from prebook.cli.main import main

main()
